# Migrations and the app's rights in its databases. azd hands over the outputs of main.bicep as variables.
. (Join-Path $PSScriptRoot 'environment.ps1')
& .venv/Scripts/python -m tools.databases
exit $LASTEXITCODE
