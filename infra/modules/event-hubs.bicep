metadata description = 'The event hub that makes an accepted heartbeat durable.'

param name string
param location string
param tags object
param eventHubName string
param partitionCount int
param throughputUnits int
param maximumThroughputUnits int
param publicAccess bool
param workspaceId string

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: 'Standard'
    tier: 'Standard'
    capacity: throughputUnits
  }
  properties: {
    disableLocalAuth: true
    minimumTlsVersion: '1.2'
    isAutoInflateEnabled: true
    maximumThroughputUnits: maximumThroughputUnits
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
  }
}

// Capture stays off: heartbeats say who works when, and nothing needs them after they are ingested.
resource eventHub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = {
  parent: namespace
  name: eventHubName
  properties: {
    partitionCount: partitionCount
    retentionDescription: {
      cleanupPolicy: 'Delete'
      retentionTimeInHours: 24
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: namespace
  name: 'to-log-analytics'
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output namespaceName string = namespace.name
output eventHubName string = eventHub.name
// https://NAME.servicebus.windows.net:443/ without scheme and port.
output hostName string = split(split(namespace.properties.serviceBusEndpoint, '/')[2], ':')[0]
