{{/* The variables of each container, as pydantic reads them: services/api/settings.py. */}}
{{- define "cerebrum.controllerEnv" -}}
- name: CEREBRUM_HOST
  value: 0.0.0.0
- name: CEREBRUM_PORT
  value: {{ .Values.controller.port | quote }}
- name: CEREBRUM_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: CEREBRUM_URL
  value: {{ .Values.controller.url | default (printf "%s://$(CEREBRUM_NAME).%s-controller-replicas.%s.svc:%v" (include "cerebrum.controllerScheme" .) (include "cerebrum.name" .) .Release.Namespace .Values.controller.port) | quote }}
- name: CEREBRUM_DATABASE
  {{- if not .Values.controller.database.existingSecret }}
  value: sqlite:////var/lib/cerebrum/controller.db
  {{- else }}
  valueFrom: {secretKeyRef: {name: {{ .Values.controller.database.existingSecret }}, key: url}}
  {{- end }}
- name: CEREBRUM_TOKENS_FILE
  value: /etc/cerebrum/tokens/tokens.json
- name: CEREBRUM_DECOMPOSITION
  value: {{ .Values.controller.decomposition | quote }}
- name: CEREBRUM_ASSIGNMENT
  value: {{ .Values.controller.assignment | quote }}
- name: CEREBRUM_LOG_FORMAT
  value: json
- name: CEREBRUM_LOG_LEVEL
  value: {{ .Values.controller.logLevel }}
{{- if .Values.controller.tlsSecret }}
- name: CEREBRUM_TLS_CERT
  value: /etc/cerebrum/tls/tls.crt
- name: CEREBRUM_TLS_KEY
  value: /etc/cerebrum/tls/tls.key
{{- end }}
- name: NUMBA_CACHE_DIR
  value: /var/cache/cerebrum
{{- end -}}

{{- define "cerebrum.agentEnv" -}}
- name: CEREBRUM_HOST
  value: 0.0.0.0
- name: CEREBRUM_PORT
  value: {{ .Values.agent.port | quote }}
- name: CEREBRUM_URL
  value: {{ .Values.agent.url | default (printf "http://%s-agent.%s.svc:%v" (include "cerebrum.name" .) .Release.Namespace .Values.agent.port) | quote }}
- name: CEREBRUM_CLUSTER_ID
  value: {{ .Values.agent.clusterId | quote }}
- name: CEREBRUM_GCC_URL
  value: {{ include "cerebrum.gccUrl" . | quote }}
- name: CEREBRUM_EXECUTOR
  value: kubernetes
- name: CEREBRUM_NAMESPACE
  value: {{ include "cerebrum.taskNamespace" . }}
- name: CEREBRUM_SCHEDULER_NAME
  value: {{ .Values.agent.schedulerName | quote }}
- name: CEREBRUM_MODE
  value: {{ .Values.agent.mode | quote }}
- name: CEREBRUM_PLACEMENT
  value: {{ .Values.agent.placement | quote }}
- name: CEREBRUM_LEADER_ELECTION
  value: {{ .Values.agent.leaderElection | quote }}
- name: CEREBRUM_IMAGE
  value: {{ .Values.agent.taskImage | quote }}
- name: CEREBRUM_POLICY
  value: {{ .Values.agent.policy | quote }}
- name: CEREBRUM_STATE
  value: /var/lib/cerebrum
- name: CEREBRUM_LOG_FORMAT
  value: json
- name: CEREBRUM_LOG_LEVEL
  value: {{ .Values.agent.logLevel }}
# On the volume, so that a restart does not compile again.
- name: NUMBA_CACHE_DIR
  value: /var/lib/cerebrum/kernels
{{- if include "cerebrum.gccUrl" . }}
- name: CEREBRUM_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .Values.agent.tokenSecret }}, key: token}}
{{- end }}
- name: CEREBRUM_API_TOKEN
  valueFrom: {secretKeyRef: {name: {{ .Values.agent.tokenSecret }}, key: api-token}}
{{- if .Values.agent.caSecret }}
- name: CEREBRUM_CA
  value: /etc/cerebrum/ca/ca.crt
{{- end }}
{{- if .Values.agent.podTemplate }}
- name: CEREBRUM_POD_TEMPLATE
  value: /etc/cerebrum/pod-template/pod-template.yaml
{{- end }}
{{- end -}}
