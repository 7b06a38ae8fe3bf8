metadata description = 'The SQL server with Microsoft Entra administrators only, and its databases.'

param serverName string
param location string
param tags object

@minLength(1)
param databases string[]
param skuName string
param zoneRedundantBackups bool
param administratorName string
param administratorId string
param administratorType string
param publicAccess bool
param workspaceId string

resource server 'Microsoft.Sql/servers@2023-08-01' = {
  name: serverName
  location: location
  tags: tags
  properties: {
    minimalTlsVersion: '1.2'
    publicNetworkAccess: publicAccess ? 'Enabled' : 'Disabled'
    administrators: {
      administratorType: 'ActiveDirectory'
      azureADOnlyAuthentication: true
      login: administratorName
      sid: administratorId
      principalType: administratorType
      tenantId: tenant().tenantId
    }
  }
}

// 0.0.0.0 stands for addresses inside Azure, the app's among them; who signs in is decided by Microsoft Entra alone.
resource azureAddresses 'Microsoft.Sql/servers/firewallRules@2023-08-01' = if (publicAccess) {
  parent: server
  name: 'AllowAllWindowsAzureIps'
  properties: {
    startIpAddress: '0.0.0.0'
    endIpAddress: '0.0.0.0'
  }
}

resource database 'Microsoft.Sql/servers/databases@2023-08-01' = [
  for databaseName in databases: {
    parent: server
    name: databaseName
    location: location
    tags: tags
    sku: { name: skuName }
    properties: {
      requestedBackupStorageRedundancy: zoneRedundantBackups ? 'Zone' : 'Local'
    }
  }
]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = [
  for (databaseName, index) in databases: {
    scope: database[index]
    name: 'to-log-analytics'
    properties: {
      workspaceId: workspaceId
      logs: [
        { category: 'Errors', enabled: true }
        { category: 'Timeouts', enabled: true }
        { category: 'Deadlocks', enabled: true }
      ]
      metrics: [{ category: 'Basic', enabled: true }]
    }
  }
]

output serverName string = server.name
output hostName string = server.properties.fullyQualifiedDomainName
