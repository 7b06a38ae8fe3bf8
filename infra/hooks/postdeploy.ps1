# One heartbeat through the new system. A user without a facility cannot see a push: that is told, and no failure.
. (Join-Path $PSScriptRoot 'environment.ps1')
$wait = if ($env:SMOKE_WAIT_SECONDS) { $env:SMOKE_WAIT_SECONDS } else { 600 }
& .venv/Scripts/python -m tools.smoke "$env:SERVICE_API_URI/api" --wait-seconds $wait --push-seconds 120
if ($LASTEXITCODE -eq 3) { exit 0 }
exit $LASTEXITCODE
