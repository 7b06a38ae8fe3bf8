metadata description = 'The function app and its plan. Every setting of shared/settings.py that has no default is set here.'

param name string
param planName string
param location string
param tags object
param hostingPlan string
param premiumSku string
param zoneRedundant bool
param alwaysReadyInstances int
param maximumInstances int
param flexInstanceMemoryMB int
param identityId string
param identityClientId string
param identityPrincipalId string
param storageAccountName string
param deploymentContainer string
param packageUri string
param applicationInsightsName string
param workspaceId string
param eventHubsHostName string
param eventHubName string
param redisHostName string
param redisPort int
param webPubSubEndpoint string
param webPubSubHub string
param monitorSqlServer string
param monitorSqlDatabase string
param coreSqlServer string
param coreSqlDatabase string
param authIssuer string
param authAudience string
param authClientId string
param authScope string
param authUserClaim string
param corsOrigins string[]
param sweepSchedule string
param monitorSchedule string
param sessionSettings object
param alertWebhookUrl string
param alertWebhookSecretUri string
param subnetId string

var flex = hostingPlan == 'flex'
var inVnet = !empty(subnetId)
// A scale limit below what is to be ready would be refused.
var readyInstances = min(alwaysReadyInstances, maximumInstances)
var planInstances = max(readyInstances, zoneRedundant ? 3 : 1)
var runsFromPackage = !flex && !empty(packageUri)
var python = '3.13'
var coresOfSku = { EP1: 1, EP2: 2, EP3: 4 }

// Signed in as the app's identity by Microsoft's driver; there is no password to hold.
var sqlOptions = 'Uid=${identityClientId};Authentication=ActiveDirectoryMsi;Encrypt=yes;TrustServerCertificate=no;'
var driver = 'Driver={ODBC Driver 18 for SQL Server};'
var monitorSql = '${driver}Server=tcp:${monitorSqlServer},1433;Database=${monitorSqlDatabase};${sqlOptions}'
var coreSql = '${driver}Server=tcp:${coreSqlServer},1433;Database=${coreSqlDatabase};${sqlOptions}'

var hostSettings = [
  { name: 'AzureWebJobsStorage__blobServiceUri', value: account.properties.primaryEndpoints.blob }
  { name: 'AzureWebJobsStorage__tableServiceUri', value: account.properties.primaryEndpoints.table }
  { name: 'AzureWebJobsStorage__credential', value: 'managedidentity' }
  { name: 'AzureWebJobsStorage__clientId', value: identityClientId }
  { name: 'APPLICATIONINSIGHTS_CONNECTION_STRING', value: applicationInsights.properties.ConnectionString }
  { name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING', value: 'ClientId=${identityClientId};Authorization=AAD' }
]

var productSettings = [
  { name: 'EventHubConnection__fullyQualifiedNamespace', value: eventHubsHostName }
  { name: 'EventHubConnection__credential', value: 'managedidentity' }
  { name: 'EventHubConnection__clientId', value: identityClientId }
  { name: 'EVENT_HUB_NAME', value: eventHubName }
  { name: 'EVENT_HUB_CONSUMER_GROUP', value: '$Default' }
  { name: 'Redis__redisHostName', value: '${redisHostName}:${redisPort},ssl=true' }
  { name: 'Redis__principalId', value: identityPrincipalId }
  { name: 'Redis__clientId', value: identityClientId }
  { name: 'WebPubSub__endpoint', value: webPubSubEndpoint }
  { name: 'WebPubSub__credential', value: 'managedidentity' }
  { name: 'WebPubSub__clientId', value: identityClientId }
  { name: 'WEB_PUBSUB_HUB', value: webPubSubHub }
  { name: 'SqlMonitor', value: monitorSql }
  { name: 'SqlCore', value: coreSql }
  { name: 'AUTH_ISSUER', value: authIssuer }
  { name: 'AUTH_AUDIENCE', value: authAudience }
  { name: 'AUTH_CLIENT_ID', value: authClientId }
  { name: 'AUTH_SCOPE', value: authScope }
  { name: 'AUTH_USER_CLAIM', value: authUserClaim }
  { name: 'SWEEP_SCHEDULE', value: sweepSchedule }
  { name: 'MONITOR_SCHEDULE', value: monitorSchedule }
]

var webhookSettings = empty(alertWebhookUrl)
  ? []
  : [
      { name: 'ALERT_WEBHOOK_URL', value: alertWebhookUrl }
      { name: 'ALERT_WEBHOOK_SECRET', value: '@Microsoft.KeyVault(SecretUri=${alertWebhookSecretUri})' }
    ]

// What `func azure functionapp publish --build remote` would set by itself, so that publishing changes nothing.
// Without a content share the files live in App Service's own storage: an Azure Files share needs a shared key.
var builtSettings = [
  { name: 'ENABLE_ORYX_BUILD', value: 'true' }
  { name: 'SCM_DO_BUILD_DURING_DEPLOYMENT', value: '1' }
  { name: 'BUILD_FLAGS', value: 'UseExpressBuild' }
  { name: 'XDG_CACHE_HOME', value: '/tmp/.cache' }
  { name: 'WEBSITES_ENABLE_APP_SERVICE_STORAGE', value: 'true' }
]
var packageSettings = [
  { name: 'WEBSITE_RUN_FROM_PACKAGE', value: packageUri }
  { name: 'WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID', value: identityId }
]
var premiumSettings = concat(
  [
    { name: 'FUNCTIONS_EXTENSION_VERSION', value: '~4' }
    { name: 'FUNCTIONS_WORKER_RUNTIME', value: 'python' }
    // One Python process uses one core.
    { name: 'FUNCTIONS_WORKER_PROCESS_COUNT', value: string(coresOfSku[premiumSku]) }
  ],
  runsFromPackage ? packageSettings : builtSettings
)

// Redis pub/sub needs a process that always listens and cannot run on Flex Consumption; the sweep detects alone there.
var flexSettings = [{ name: 'AzureWebJobs.expire_session.Disabled', value: 'true' }]

var planSettings = flex ? flexSettings : premiumSettings
var furtherSettings = map(items(sessionSettings), item => { name: item.key, value: string(item.value) })

var alwaysReady = [
  { name: 'http', instanceCount: alwaysReadyInstances }
  { name: 'function:ingest_heartbeats', instanceCount: alwaysReadyInstances }
  // A timer runs on one instance at a time; ingestion sweeps, too, when the sweep is late.
  { name: 'function:sweep_sessions', instanceCount: 1 }
  { name: 'function:monitor_sessions', instanceCount: 1 }
]

var commonSiteConfig = {
  appSettings: concat(hostSettings, productSettings, webhookSettings, planSettings, furtherSettings)
  cors: { allowedOrigins: corsOrigins, supportCredentials: false }
  ftpsState: 'Disabled'
  http20Enabled: true
  minTlsVersion: '1.2'
}
// No healthCheckPath: /api/health is 503 when a service that the app needs is down, and replacing instances is no cure.
var premiumSiteConfig = {
  linuxFxVersion: 'Python|${python}'
  minimumElasticInstanceCount: readyInstances
  functionAppScaleLimit: maximumInstances
  functionsRuntimeScaleMonitoringEnabled: inVnet
  vnetRouteAllEnabled: inVnet
}

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageAccountName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: flex ? 'functionapp' : 'elastic'
  sku: flex
    ? { name: 'FC1', tier: 'FlexConsumption' }
    : { name: premiumSku, tier: 'ElasticPremium', capacity: planInstances }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
    maximumElasticWorkerCount: flex ? null : max(maximumInstances, planInstances)
  }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identityId}': {} }
  }
  properties: {
    serverFarmId: plan.id
    reserved: true
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: inVnet ? subnetId : null
    siteConfig: union(commonSiteConfig, flex ? {} : premiumSiteConfig)
    functionAppConfig: flex
      ? {
          deployment: {
            storage: {
              type: 'blobContainer'
              value: '${account.properties.primaryEndpoints.blob}${deploymentContainer}'
              authentication: {
                type: 'UserAssignedIdentity'
                userAssignedIdentityResourceId: identityId
              }
            }
          }
          runtime: { name: 'python', version: python }
          scaleAndConcurrency: {
            alwaysReady: alwaysReady
            // Flex takes no lower limit than 40, nor one below what is always ready; ours applies to premium.
            maximumInstanceCount: max(maximumInstances, 40, 2 * alwaysReadyInstances + 2)
            instanceMemoryMB: flexInstanceMemoryMB
          }
        }
      : null
  }

  // Publishing works with Microsoft Entra tokens only.
  resource noBasicAuthForScm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  resource noBasicAuthForFtp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: site
  name: 'to-log-analytics'
  properties: {
    workspaceId: workspaceId
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output name string = site.name
output uri string = 'https://${site.properties.defaultHostName}'
