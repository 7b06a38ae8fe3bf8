metadata description = 'Web PubSub: status changes to browsers.'

param name string
param location string
param tags object
param units int
param publicAccess bool
param workspaceId string

resource service 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: name
  location: location
  tags: tags
  kind: 'WebPubSub'
  sku: {
    name: 'Standard_S1'
    tier: 'Standard'
    capacity: units
  }
  properties: {
    disableLocalAuth: true
    disableAadAuth: false
    // Browsers always connect from outside; with a private network only the app's calls are kept inside.
    publicNetworkAccess: 'Enabled'
    networkACLs: publicAccess
      ? { defaultAction: 'Deny', publicNetwork: { allow: ['ClientConnection', 'RESTAPI'] } }
      : { defaultAction: 'Allow', publicNetwork: { deny: ['RESTAPI', 'ServerConnection', 'Trace'] } }
    tls: { clientCertEnabled: false }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: service
  name: 'to-log-analytics'
  properties: {
    workspaceId: workspaceId
    // Not MessagingLogs: a row for every message to every connection.
    logs: [
      { category: 'ConnectivityLogs', enabled: true }
      { category: 'HttpRequestLogs', enabled: true }
    ]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

output name string = service.name
output endpoint string = 'https://${service.properties.hostName}'
