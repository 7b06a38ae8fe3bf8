# Makes .venv where there is none; the other hooks run in it.
$ErrorActionPreference = 'Stop'
Set-Location (Join-Path $PSScriptRoot '../..')
if (-not (Test-Path .venv)) {
    py -3.13 -m venv .venv
    if ($LASTEXITCODE -ne 0) { throw 'Python 3.13 is needed (winget install Python.Python.3.13)' }
}
& .venv/Scripts/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
if ($LASTEXITCODE -ne 0) { throw 'requirements.txt could not be installed' }
