metadata description = 'A private endpoint and its DNS zone for every service that the app talks to.'

param location string
param tags object
param vnetName string
param storageAccountName string
param eventHubsNamespaceName string
param redisName string
param webPubSubName string
param sqlServerName string

var services = [
  {
    name: 'blob'
    id: account.id
    groupId: 'blob'
    zone: 'privatelink.blob.${environment().suffixes.storage}'
  }
  {
    name: 'table'
    id: account.id
    groupId: 'table'
    zone: 'privatelink.table.${environment().suffixes.storage}'
  }
  {
    name: 'event-hubs'
    id: namespace.id
    groupId: 'namespace'
    zone: 'privatelink.servicebus.windows.net'
  }
  {
    name: 'redis'
    id: redis.id
    groupId: 'redisEnterprise'
    zone: 'privatelink.redis.azure.net'
  }
  {
    name: 'web-pubsub'
    id: webPubSub.id
    groupId: 'webpubsub'
    zone: 'privatelink.webpubsub.azure.com'
  }
  {
    name: 'sql'
    id: sqlServer.id
    groupId: 'sqlServer'
    zone: 'privatelink${environment().suffixes.sqlServerHostname}'
  }
]

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: storageAccountName
}

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: eventHubsNamespaceName
}

resource redis 'Microsoft.Cache/redisEnterprise@2026-02-01-preview' existing = {
  name: redisName
}

resource webPubSub 'Microsoft.SignalRService/webPubSub@2024-03-01' existing = {
  name: webPubSubName
}

resource sqlServer 'Microsoft.Sql/servers@2023-08-01' existing = {
  name: sqlServerName
}

resource vnet 'Microsoft.Network/virtualNetworks@2024-05-01' existing = {
  name: vnetName
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [
  for service in services: {
    name: service.zone
    location: 'global'
    tags: tags
  }
]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [
  for (service, index) in services: {
    parent: zones[index]
    name: vnetName
    location: 'global'
    tags: tags
    properties: {
      registrationEnabled: false
      virtualNetwork: { id: vnet.id }
    }
  }
]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-05-01' = [
  for service in services: {
    name: 'pep-${service.name}'
    location: location
    tags: tags
    properties: {
      subnet: { id: '${vnet.id}/subnets/snet-private-endpoints' }
      privateLinkServiceConnections: [
        {
          name: service.name
          properties: {
            privateLinkServiceId: service.id
            groupIds: [service.groupId]
          }
        }
      ]
    }
  }
]

resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-05-01' = [
  for (service, index) in services: {
    parent: endpoints[index]
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: service.name
          properties: { privateDnsZoneId: zones[index].id }
        }
      ]
    }
  }
]
