metadata description = 'Facility Pulse: everything it runs on, from an empty subscription.'

targetScope = 'subscription'

// ---- Where and how large ------------------------------------------------------------------------------------------

@description('Name of the environment; part of the resource group\'s name, and a short hash of it names the resources.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Azure region of all resources.')
@minLength(1)
@metadata({ azd: { type: 'location' } })
param location string

@description('dev: the least that works. production: zones, replicas, and room for 100,000 sessions.')
@allowed(['dev', 'production'])
param size string = 'dev'

@description('premium: Elastic Premium, every trigger works. flex: Flex Consumption, cheaper when idle; Redis pub/sub is not available there and the sweep alone detects.')
@allowed(['premium', 'flex'])
param hostingPlan string = 'premium'

@description('Size of one instance on the premium plan.')
@allowed(['EP1', 'EP2', 'EP3'])
param premiumSku string = 'EP1'

@description('Spreads storage, backups and the plan over availability zones; not every region has them.')
param zoneRedundant bool = false

@description('Instances that always run: of the app on premium; on flex of HTTP and of ingestion each, with one for each timer.')
@minValue(1)
@maxValue(20)
param alwaysReadyInstances int = size == 'production' ? 2 : 1

@description('Most instances that the app may scale out to. More than the event hub has partitions would idle.')
@minValue(1)
@maxValue(32)
param maximumInstances int = size == 'production' ? 16 : 4

@description('Memory of one flex instance, in MB; its share of a processor grows with it.')
@allowed([512, 2048, 4096])
param flexInstanceMemoryMB int = size == 'production' ? 2048 : 512

@description('Partitions of the event hub. Cannot be changed later on the Standard tier.')
@minValue(1)
@maxValue(32)
param eventHubPartitions int = size == 'production' ? 16 : 4

@description('Throughput units to start with.')
@minValue(1)
@maxValue(40)
param eventHubThroughputUnits int = 1

@description('Throughput units that auto-inflate may rise to. A value below eventHubThroughputUnits counts as that.')
@minValue(1)
@maxValue(40)
param eventHubMaximumThroughputUnits int = size == 'production' ? 10 : 2

@description('Azure Managed Redis SKU. Up to 24 GB: larger ones need a cluster, which keyspace notifications do not survive.')
@allowed([
  'Balanced_B0'
  'Balanced_B1'
  'Balanced_B3'
  'Balanced_B5'
  'Balanced_B10'
  'Balanced_B20'
  'MemoryOptimized_M10'
  'MemoryOptimized_M20'
  'ComputeOptimized_X3'
  'ComputeOptimized_X5'
  'ComputeOptimized_X10'
  'ComputeOptimized_X20'
])
param redisSku string = size == 'production' ? 'Balanced_B5' : 'Balanced_B0'

@description('Web PubSub units, 1,000 connections each.')
@allowed([1, 2, 5, 10, 20, 50, 100])
param webPubSubUnits int = 1

@description('SKU of the databases that are created.')
@allowed(['S0', 'S1', 'S2', 'S3', 'S4', 'GP_Gen5_2', 'GP_Gen5_4', 'GP_Gen5_8'])
param sqlSku string = size == 'production' ? 'S2' : 'S0'

// ---- Whose tokens are taken ---------------------------------------------------------------------------------------

@description('OpenID Connect issuer, an https address. For Microsoft Entra ID the v2.0 one of the tenant.')
@minLength(12)
param authIssuer string

@description('Audience of the access tokens: the client id of the API\'s app registration, or its api:// address.')
@minLength(1)
param authAudience string

@description('Client id of the browser application.')
@minLength(1)
param authClientId string

@description('Scope that the browser asks for, e.g. openid api://<client id>/access')
@minLength(1)
param authScope string = 'openid'

@description('Claim that holds the user id of the directory.')
@minLength(1)
param authUserClaim string = 'oid'

@description('Other origins whose pages may call the API; the dashboard needs none.')
param corsOrigins string[] = []

// ---- Databases ----------------------------------------------------------------------------------------------------

@description('Full host name of the server of an existing core database. Empty: one is created.')
param coreSqlServer string = ''

@description('Name of the core database.')
@minLength(1)
@maxLength(128)
param coreSqlDatabase string = 'core'

@description('Administrator of the SQL server, Microsoft Entra only: a name for people to recognise.')
@minLength(1)
param sqlAdministratorName string = 'facility-pulse-deployer'

@description('Object id of that user or group; for a service principal its client id. Set when the server is made.')
@minLength(36)
@maxLength(36)
param sqlAdministratorId string = deployer().objectId

@allowed(['User', 'Group', 'Application'])
param sqlAdministratorType string = 'User'

// ---- Sessions: empty means the product's default ------------------------------------------------------------------

@description('Further app settings by the names in the contract, e.g. { SESSION_TTL_SECONDS: \'60\' }.')
param sessionSettings object = {}

@description('When the sweep runs (NCRONTAB).')
param sweepSchedule string = '*/1 * * * * *'

@description('When the monitor runs (NCRONTAB).')
param monitorSchedule string = '0 * * * * *'

// ---- Network and people -------------------------------------------------------------------------------------------

@description('Puts the app into a virtual network and everything it talks to behind private endpoints.')
param vnetEnabled bool = false

@description('Address range of that network; needs at least a /24.')
param vnetAddressPrefix string = '10.60.0.0/24'

@description('Who gets the alerts. Empty: they are only shown.')
param alertEmail string = ''

@description('Webhook for facility alerts (contract: ALERT_WEBHOOK_URL). Empty: none.')
param alertWebhookUrl string = ''

@description('Key Vault address of the secret that signs the webhook\'s calls; the app\'s identity must be allowed to read it.')
param alertWebhookSecretUri string = ''

@description('Blob address of a built package to run from instead of a deployed one (premium only). See docs/deploy.md.')
param packageUri string = ''

var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var production = size == 'production'
var eventHubName = 'heartbeats'
var webPubSubHub = 'presence'
var functionAppName = 'func-${token}'
var deploymentContainer = 'app-package'
var createsCoreDatabase = empty(coreSqlServer)
// Refused at once: the app would start, and sign with nothing.
var webhookSecretUri = empty(alertWebhookUrl) || startsWith(alertWebhookSecretUri, 'https://')
  ? alertWebhookSecretUri
  : fail('alertWebhookSecretUri must be the https address of a Key Vault secret where alertWebhookUrl is set')

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-${token}'
    applicationInsightsName: 'appi-${token}'
    location: location
    tags: tags
    retentionInDays: production ? 90 : 30
  }
}

module network 'modules/network.bicep' = if (vnetEnabled) {
  name: 'network'
  scope: group
  params: {
    name: 'vnet-${token}'
    location: location
    tags: tags
    addressPrefix: vnetAddressPrefix
    hostingPlan: hostingPlan
  }
}

module services 'modules/services.bicep' = {
  name: 'services'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    replicated: production
    zoneRedundant: zoneRedundant
    deploymentContainer: deploymentContainer
    eventHubName: eventHubName
    eventHubPartitions: eventHubPartitions
    eventHubThroughputUnits: eventHubThroughputUnits
    eventHubMaximumThroughputUnits: eventHubMaximumThroughputUnits
    redisSku: redisSku
    webPubSubUnits: webPubSubUnits
    sqlDatabases: createsCoreDatabase ? ['monitor', coreSqlDatabase] : ['monitor']
    sqlSku: sqlSku
    sqlAdministratorName: sqlAdministratorName
    sqlAdministratorId: sqlAdministratorId
    sqlAdministratorType: sqlAdministratorType
    principalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    vnetName: network.?outputs.name ?? ''
  }
}

// After all of the services, whose outputs it takes: the host needs its storage, and the app its rights, from the first
// second on.
module functionApp 'modules/function-app.bicep' = {
  name: 'function-app'
  scope: group
  params: {
    name: functionAppName
    planName: 'asp-${token}'
    location: location
    tags: tags
    hostingPlan: hostingPlan
    premiumSku: premiumSku
    zoneRedundant: zoneRedundant
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: maximumInstances
    flexInstanceMemoryMB: flexInstanceMemoryMB
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    identityPrincipalId: identity.outputs.principalId
    storageAccountName: services.outputs.storageAccountName
    deploymentContainer: deploymentContainer
    packageUri: packageUri
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    workspaceId: monitoring.outputs.workspaceId
    eventHubsHostName: services.outputs.eventHubsHostName
    eventHubName: services.outputs.eventHubName
    redisHostName: services.outputs.redisHostName
    redisPort: services.outputs.redisPort
    webPubSubEndpoint: services.outputs.webPubSubEndpoint
    webPubSubHub: webPubSubHub
    monitorSqlServer: services.outputs.sqlHostName
    monitorSqlDatabase: 'monitor'
    coreSqlServer: createsCoreDatabase ? services.outputs.sqlHostName : coreSqlServer
    coreSqlDatabase: coreSqlDatabase
    authIssuer: authIssuer
    authAudience: authAudience
    authClientId: authClientId
    authScope: authScope
    authUserClaim: authUserClaim
    corsOrigins: corsOrigins
    sweepSchedule: sweepSchedule
    monitorSchedule: monitorSchedule
    sessionSettings: sessionSettings
    alertWebhookUrl: alertWebhookUrl
    alertWebhookSecretUri: webhookSecretUri
    subnetId: network.?outputs.appSubnetId ?? ''
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    token: token
    location: location
    tags: tags
    email: alertEmail
    apiUri: functionApp.outputs.uri
    applicationInsightsName: monitoring.outputs.applicationInsightsName
    eventHubsNamespaceName: services.outputs.eventHubsNamespaceName
    redisName: services.outputs.redisName
  }
}

// What azd, func and the hooks need. None is a secret.
output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output SERVICE_API_NAME string = functionApp.outputs.name
output SERVICE_API_URI string = functionApp.outputs.uri
output SERVICE_API_IDENTITY_NAME string = identity.outputs.name
output SERVICE_API_IDENTITY_CLIENT_ID string = identity.outputs.clientId
// azd keeps it with the environment: the server refuses another administrator in a later deployment.
output SQL_ADMINISTRATOR_ID string = sqlAdministratorId
output SQL_SERVER_NAME string = services.outputs.sqlServerName
output SQL_MONITOR_SERVER string = services.outputs.sqlHostName
output SQL_MONITOR_DATABASE string = 'monitor'
output SQL_CORE_SERVER string = createsCoreDatabase ? services.outputs.sqlHostName : coreSqlServer
output SQL_CORE_DATABASE string = coreSqlDatabase
output SQL_CORE_CREATED bool = createsCoreDatabase
output AUTH_AUDIENCE string = authAudience
// Whoever deploys, as the directory would name them: belongs to the smoke test's facility.
output SMOKE_USER string = authUserClaim == 'oid' ? deployer().objectId : ''
