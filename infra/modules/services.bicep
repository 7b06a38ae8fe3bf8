metadata description = 'What the app talks to: each service, the rights of the app\'s identity, and private endpoints.'

param token string
param location string
param tags object
param replicated bool
param zoneRedundant bool
param deploymentContainer string
param eventHubName string
param eventHubPartitions int
param eventHubThroughputUnits int
param eventHubMaximumThroughputUnits int
param redisSku string
param webPubSubUnits int
param sqlDatabases string[]
param sqlSku string
param sqlAdministratorName string
param sqlAdministratorId string
param sqlAdministratorType string
param principalId string
param workspaceId string
param applicationInsightsName string

@description('Network that the services are reached in. Empty: in public.')
param vnetName string

var publicAccess = empty(vnetName)

module storage 'storage.bicep' = {
  name: 'storage'
  params: {
    name: 'st${token}'
    location: location
    tags: tags
    zoneRedundant: zoneRedundant
    deploymentContainer: deploymentContainer
    publicAccess: publicAccess
    workspaceId: workspaceId
  }
}

module eventHubs 'event-hubs.bicep' = {
  name: 'event-hubs'
  params: {
    name: 'evhns-${token}'
    location: location
    tags: tags
    eventHubName: eventHubName
    partitionCount: eventHubPartitions
    throughputUnits: eventHubThroughputUnits
    maximumThroughputUnits: max(eventHubThroughputUnits, eventHubMaximumThroughputUnits)
    publicAccess: publicAccess
    workspaceId: workspaceId
  }
}

module redis 'redis.bicep' = {
  name: 'redis'
  params: {
    name: 'amr-${token}'
    location: location
    tags: tags
    skuName: redisSku
    highAvailability: replicated
    publicAccess: publicAccess
    workspaceId: workspaceId
  }
}

module webPubSub 'web-pubsub.bicep' = {
  name: 'web-pubsub'
  params: {
    name: 'wps-${token}'
    location: location
    tags: tags
    units: webPubSubUnits
    publicAccess: publicAccess
    workspaceId: workspaceId
  }
}

module sql 'sql.bicep' = {
  name: 'sql'
  params: {
    serverName: 'sql-${token}'
    location: location
    tags: tags
    databases: sqlDatabases
    skuName: sqlSku
    zoneRedundantBackups: zoneRedundant
    administratorName: sqlAdministratorName
    administratorId: sqlAdministratorId
    administratorType: sqlAdministratorType
    publicAccess: publicAccess
    workspaceId: workspaceId
  }
}

module rbac 'rbac.bicep' = {
  name: 'rbac'
  params: {
    principalId: principalId
    storageAccountName: storage.outputs.name
    eventHubsNamespaceName: eventHubs.outputs.namespaceName
    eventHubName: eventHubs.outputs.eventHubName
    redisName: redis.outputs.name
    webPubSubName: webPubSub.outputs.name
    applicationInsightsName: applicationInsightsName
  }
}

module privateEndpoints 'private-endpoints.bicep' = if (!publicAccess) {
  name: 'private-endpoints'
  // One after the other: Redis refuses a second change while it is busy with one.
  dependsOn: [rbac]
  params: {
    location: location
    tags: tags
    vnetName: vnetName
    storageAccountName: storage.outputs.name
    eventHubsNamespaceName: eventHubs.outputs.namespaceName
    redisName: redis.outputs.name
    webPubSubName: webPubSub.outputs.name
    sqlServerName: sql.outputs.serverName
  }
}

output storageAccountName string = storage.outputs.name
output eventHubsNamespaceName string = eventHubs.outputs.namespaceName
output eventHubsHostName string = eventHubs.outputs.hostName
output eventHubName string = eventHubs.outputs.eventHubName
output redisName string = redis.outputs.name
output redisHostName string = redis.outputs.hostName
output redisPort int = redis.outputs.port
output webPubSubEndpoint string = webPubSub.outputs.endpoint
output sqlServerName string = sql.outputs.serverName
output sqlHostName string = sql.outputs.hostName
