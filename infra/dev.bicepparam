// The least that works, for trying it out: az deployment sub create --parameters infra/dev.bicepparam (docs/deploy.md).
using 'main.bicep'

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'facility-pulse-dev')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param size = 'dev'

param authIssuer = readEnvironmentVariable('AUTH_ISSUER')
param authAudience = readEnvironmentVariable('AUTH_AUDIENCE')
param authClientId = readEnvironmentVariable('AUTH_CLIENT_ID')
param authScope = readEnvironmentVariable('AUTH_SCOPE', 'openid')
param authUserClaim = readEnvironmentVariable('AUTH_USER_CLAIM', 'oid')
