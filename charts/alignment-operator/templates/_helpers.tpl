{{- define "alignment-operator.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "alignment-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "alignment-operator.name" .) .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "alignment-operator.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "alignment-operator.selector" -}}
app.kubernetes.io/name: {{ include "alignment-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "alignment-operator.labels" -}}
{{ include "alignment-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "alignment-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "alignment-operator.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ required "serviceAccount.name is required when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "alignment-operator.image" -}}
{{- $repository := required "image.repository is required: the operator's image without its tag, such as registry.example.com/alignment-operator" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" $repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What the operator may do, cluster-wide or in each served namespace: the verbs it uses and no others. */}}
{{- define "alignment-operator.rules" -}}
- apiGroups: [alignment.dev]
  resources: [alignmentjobs]
  # delete: runPolicy.ttlSecondsAfterFinished
  verbs: [get, list, watch, delete]
- apiGroups: [alignment.dev]
  resources: [alignmentjobs/status]
  verbs: [patch]
# Nothing is written there; where the admission plugin OwnerReferencesPermissionEnforcement is on (OpenShift), it asks
# for this before an owner may be set that blocks deletion.
- apiGroups: [alignment.dev]
  resources: [alignmentjobs/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [create, patch, delete]
# get: a dataset's ConfigMap is looked for before Prepare starts, and reports are read from theirs.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch, delete]
# get: so is the workspace's claim.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- if .Values.networkPolicy.gangs.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, patch]
{{- end }}
# scheduling.podGroup, for the scheduler plugins and Volcano.
- apiGroups: [scheduling.x-k8s.io, scheduling.volcano.sh]
  resources: [podgroups]
  verbs: [create, patch]
# scheduling.queueName: why Kueue has not admitted a gang.
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list]
{{- end }}
