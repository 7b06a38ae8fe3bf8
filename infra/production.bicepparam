// Room for 100,000 sessions, spread over availability zones, inside a virtual network. docs/operations.md has the table
// of what to raise for more.
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'facility-pulse')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param size = 'production'
param zoneRedundant = true
param alwaysReadyInstances = 3
param vnetEnabled = true
param webPubSubUnits = 5
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')

param authIssuer = readEnvironmentVariable('AUTH_ISSUER')
param authAudience = readEnvironmentVariable('AUTH_AUDIENCE')
param authClientId = readEnvironmentVariable('AUTH_CLIENT_ID')
param authScope = readEnvironmentVariable('AUTH_SCOPE', 'openid')
param authUserClaim = readEnvironmentVariable('AUTH_USER_CLAIM', 'oid')

param coreSqlServer = readEnvironmentVariable('CORE_SQL_SERVER', '')
param coreSqlDatabase = readEnvironmentVariable('CORE_SQL_DATABASE', 'core')
