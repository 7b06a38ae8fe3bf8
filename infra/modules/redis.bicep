metadata description = 'Azure Managed Redis: sessions, facility states and the streams of changes.'

param name string
param location string
param tags object
param skuName string
param highAvailability bool
param publicAccess bool
param workspaceId string

var databasePort = 10000

resource cluster 'Microsoft.Cache/redisEnterprise@2026-02-01-preview' = {
  name: name
  location: location
  tags: tags
  sku: { name: skuName }
  properties: {
    minimumTlsVersion: '1.2'
    highAvailability: highAvailability ? 'Enabled' : 'Disabled'
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
  }
}

resource database 'Microsoft.Cache/redisEnterprise/databases@2026-02-01-preview' = {
  parent: cluster
  name: 'default'
  properties: {
    port: databasePort
    clientProtocol: 'Encrypted'
    accessKeysAuthentication: 'Disabled'
    // Notifications are local to a node: the trigger's one subscription would miss those of the others.
    clusteringPolicy: 'NoCluster'
    // An evicted key raises no expired notification, and a lost session is a false offline.
    evictionPolicy: 'NoEviction'
    notifyKeyspaceEvents: 'Ex'
    persistence: highAvailability ? { aofEnabled: true, aofFrequency: '1s' } : { aofEnabled: false, rdbEnabled: false }
  }
}

resource clusterDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: cluster
  name: 'to-log-analytics'
  properties: {
    workspaceId: workspaceId
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

resource databaseDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: database
  name: 'to-log-analytics'
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
  }
}

output name string = cluster.name
output hostName string = cluster.properties.hostName
output port int = databasePort
