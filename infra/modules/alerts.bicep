metadata description = 'Who is told what, and when. docs/operations.md says for each what it means and what to do.'

param token string
param location string
param tags object
param email string
param apiUri string
param applicationInsightsName string
param eventHubsNamespaceName string
param redisName string

var healthUri = '${apiUri}/api/health'
// Asked from five places; two that agree make an alert, so that one broken route does not.
var testLocations = [
  { Id: 'emea-nl-ams-azr' }
  { Id: 'emea-gb-db3-azr' }
  { Id: 'us-va-ash-azr' }
  { Id: 'us-ca-sjc-azr' }
  { Id: 'apac-sg-sin-azr' }
]

// Availability tests of /api/health.
var tests = [
  {
    name: 'health'
    description: 'A service that the app needs does not answer, or the app itself does not.'
    rules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 14 }
  }
  {
    name: 'stale'
    description: 'The pipeline is stalled: nobody\'s silence is believed, nobody goes offline.'
    rules: {
      ContentValidation: { ContentMatch: '"stale":false', IgnoreCase: false, PassIfTextFound: true }
    }
  }
]

// The product's own metrics (shared/metrics.py), exported once a minute.
var measures = [
  {
    name: 'detection-lag'
    severity: 2
    description: 'In most minutes somebody\'s end was announced more than 2 s after its deadline.'
    query: 'customMetrics | where name == "facility_pulse.detection_lag" | summarize worst = max(valueMax) by bin(timestamp, 1m) | summarize slow = countif(worst > 2)'
    column: 'slow'
    threshold: 2
  }
  {
    name: 'pipeline-lag'
    severity: 2
    description: 'Ingestion is more than 5 s behind the clock, for five minutes.'
    query: 'customMetrics | where name == "facility_pulse.pipeline_lag" | summarize lag = min(value)'
    column: 'lag'
    threshold: 5
  }
  {
    name: 'backlog'
    severity: 2
    description: 'Status changes or ended sessions have waited for a database or for Web PubSub for five minutes.'
    query: 'customMetrics | where name == "facility_pulse.stream_oldest" | summarize oldest = max(value)'
    column: 'oldest'
    threshold: 300
  }
  {
    name: 'set-aside'
    severity: 3
    description: 'Records that could not be understood were set aside.'
    query: 'customMetrics | where name == "facility_pulse.dead_letters" | summarize records = sum(value)'
    column: 'records'
    threshold: 0
  }
]

resource applicationInsights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource namespace 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: eventHubsNamespaceName
}

resource redis 'Microsoft.Cache/redisEnterprise@2026-02-01-preview' existing = {
  name: redisName
}

resource people 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'fac-pulse'
    enabled: true
    emailReceivers: empty(email) ? [] : [{ name: 'email', emailAddress: email, useCommonAlertSchema: true }]
  }
}

resource availabilityTests 'Microsoft.Insights/webtests@2022-06-15' = [
  for test in tests: {
    name: 'webtest-${test.name}-${token}'
    location: location
    // This tag is how Application Insights finds its tests.
    tags: union(tags, { 'hidden-link:${applicationInsights.id}': 'Resource' })
    kind: 'standard'
    properties: {
      SyntheticMonitorId: 'webtest-${test.name}-${token}'
      Name: test.name
      Description: test.description
      Enabled: true
      Frequency: 300
      Timeout: 30
      Kind: 'standard'
      RetryEnabled: true
      Locations: testLocations
      Request: { RequestUrl: healthUri, HttpVerb: 'GET', ParseDependentRequests: false }
      ValidationRules: test.rules
    }
  }
]

resource availabilityAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for (test, index) in tests: {
    name: 'ar-${test.name}-${token}'
    location: 'global'
    tags: tags
    properties: {
      description: test.description
      severity: 1
      enabled: true
      evaluationFrequency: 'PT1M'
      windowSize: 'PT5M'
      scopes: [
        (availabilityTests[index].id)
        applicationInsights.id
      ]
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
        webTestId: availabilityTests[index].id
        componentId: applicationInsights.id
        failedLocationCount: 2
      }
      actions: [{ actionGroupId: people.id }]
    }
  }
]

resource measureAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [
  for measure in measures: {
    name: 'ar-${measure.name}-${token}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: measure.name
      description: measure.description
      severity: measure.severity
      enabled: true
      evaluationFrequency: 'PT5M'
      windowSize: 'PT5M'
      scopes: [applicationInsights.id]
      // The table is there only after the first telemetry.
      skipQueryValidation: true
      autoMitigate: true
      criteria: {
        allOf: [
          {
            query: measure.query
            metricMeasureColumn: measure.column
            timeAggregation: 'Maximum'
            operator: 'GreaterThan'
            threshold: measure.threshold
            failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
          }
        ]
      }
      actions: { actionGroups: [people.id] }
    }
  }
]

resource throttled 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'ar-event-hubs-throttled-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Event Hubs refuses heartbeats: the throughput units are used up.'
    severity: 1
    enabled: true
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    scopes: [namespace.id]
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'throttled'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'ThrottledRequests'
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [{ actionGroupId: people.id }]
  }
}

// Nothing is evicted, so a full Redis refuses writes and the pipeline stalls: say so well before.
resource redisMemory 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: 'ar-redis-memory-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'Redis uses more than 80 % of its memory.'
    severity: 2
    enabled: true
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    scopes: [redis.id]
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: 'memory'
          criterionType: 'StaticThresholdCriterion'
          metricName: 'usedmemorypercentage'
          operator: 'GreaterThan'
          threshold: 80
          timeAggregation: 'Maximum'
        }
      ]
    }
    actions: [{ actionGroupId: people.id }]
  }
}
