metadata description = 'Every permission of the app\'s identity inside Azure; those inside the databases are granted by tools/databases.py.'

param principalId string
param storageAccountName string
param eventHubsNamespaceName string
param eventHubName string
param redisName string
param webPubSubName string
param applicationInsightsName string

// Built-in roles by their names in the portal.
var roles = {
  'Storage Blob Data Owner': 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  'Storage Table Data Contributor': '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  'Azure Event Hubs Data Receiver': 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde'
  'Azure Event Hubs Data Sender': '2b629674-e913-4c01-ae53-ef4638d8f975'
  'Web PubSub Service Owner': '12cf5a90-567b-43ae-8102-96cf46c7d9b4'
  'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb'
}

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageAccountName
}

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: eventHubsNamespaceName

  resource eventHub 'eventhubs' existing = {
    name: eventHubName
  }
}

resource redis 'Microsoft.Cache/redisEnterprise@2026-02-01-preview' existing = {
  name: redisName

  resource database 'databases' existing = {
    name: 'default'
  }
}

resource webPubSub 'Microsoft.SignalRService/webPubSub@2024-03-01' existing = {
  name: webPubSubName
}

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

// The host's leases, checkpoints and keys, and on flex the package.
resource blobDataOwner 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, roles['Storage Blob Data Owner'])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Owner'])
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// The host's diagnostic events.
resource tableDataContributor 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, roles['Storage Table Data Contributor'])
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Storage Table Data Contributor']
    )
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource eventHubsReceiver 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: namespace::eventHub
  name: guid(namespace::eventHub.id, principalId, roles['Azure Event Hubs Data Receiver'])
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Azure Event Hubs Data Receiver']
    )
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource eventHubsSender 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: namespace::eventHub
  name: guid(namespace::eventHub.id, principalId, roles['Azure Event Hubs Data Sender'])
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Azure Event Hubs Data Sender']
    )
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

resource webPubSubOwner 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: webPubSub
  name: guid(webPubSub.id, principalId, roles['Web PubSub Service Owner'])
  properties: {
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Web PubSub Service Owner'])
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// Telemetry: Application Insights takes none by key.
resource metricsPublisher 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: applicationInsights
  name: guid(applicationInsights.id, principalId, roles['Monitoring Metrics Publisher'])
  properties: {
    roleDefinitionId: subscriptionResourceId(
      'Microsoft.Authorization/roleDefinitions',
      roles['Monitoring Metrics Publisher']
    )
    principalId: principalId
    principalType: 'ServicePrincipal'
  }
}

// Azure Managed Redis knows access policies in the place of roles; its user name is the identity's object id.
resource redisAccess 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2026-02-01-preview' = {
  parent: redis::database
  // An assignment cannot be given to another identity; a new identity gets one of its own.
  name: 'app${uniqueString(principalId)}'
  properties: {
    accessPolicyName: 'default'
    user: { objectId: principalId }
  }
}
