#!/bin/sh
# Migrations and the app's rights in its databases. azd hands over the outputs of main.bicep as variables.
set -eu
cd "$(dirname "$0")/../.."
exec make --silent databases
