{{- /* What several objects are made of. Everything that depends on a value is here or in the object itself. */ -}}

{{- define "wattlens.image" -}}
{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ with .kind }}-{{ . }}{{ end }}
{{- end }}

{{- define "wattlens.labels" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: wattlens
{{- end }}

{{- /* Name of what the DaemonSet's pods need. The preflight has objects of its own, so that it leaves nothing to a later installation and takes nothing from agents that run. */ -}}
{{- define "wattlens.nodeName" -}}
{{ .Values.preflight.enabled | ternary "wattlens-preflight" "wattlens-agent" }}
{{- end }}

{{- /* Options that agent and doctor share. */ -}}
{{- define "wattlens.agentOptions" -}}
{{- if .Values.simulated.enabled }}--simulate /sim/node {{ end }}--config /etc/wattlens/agent.yaml --state /var/lib/wattlens
{{- end }}

{{- /* Annotations of what the account of `helm test` consists of: there before the test's pod, gone after it. */ -}}
{{- define "wattlens.testAccount" -}}
helm.sh/hook: test
helm.sh/hook-weight: "-1"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded,hook-failed
{{- end }}

{{- /* Values that contradict each other, each with what to do; included by the DaemonSet and the notes. */ -}}
{{- define "wattlens.refuse" -}}
{{- if eq .Values.mode "enforce" }}
{{- if .Values.runAsNonRoot }}{{ fail "mode enforce needs uid 0: a capability is lost by any other user; set runAsNonRoot=false" }}{{ end }}
{{- if .Values.simulated.enabled }}{{ fail "mode enforce steers GPUs of the node, and simulated has none; set mode=shadow" }}{{ end }}
{{- end }}
{{- if and (eq .Values.deviceAccess "dra") .Values.agent.enabled (not .Values.simulated.enabled) (not .Values.informer.enabled) }}
{{- if not .Values.preflight.enabled }}{{ fail "deviceAccess dra needs informer.enabled=true: without it the agent's own claim counts as an allocation of every GPU" }}{{ end }}
{{- end }}
{{- if (dig "dvfs" "mode" "" .Values.agent.config) }}{{ fail "agent.config.dvfs.mode: set the value mode, which also brings what it needs" }}{{ end }}
{{- if and .Values.informer.enabled .Values.simulated.enabled }}{{ fail "informer asks for pods of this node, and a simulated node has others; set one of them to false" }}{{ end }}
{{- end }}

{{- /* The agent's file: what the values ask for, and agent.config over it. */ -}}
{{- define "wattlens.agentConfig" -}}
{{- $config := dict "node" (dict "cluster" .Values.cluster) "sources" (dict "nvml" (dict "on_start_failure" "retry")) }}
{{- if ne .Values.mode "observe" }}
{{- $dvfs := dict "mode" .Values.mode "auto_groups" true }}
{{- if eq .Values.mode "enforce" }}{{- $_ := set $dvfs "actuator" "/run/wattlens/actuator/actuator.sock" }}{{- end }}
{{- $_ := set $config "dvfs" $dvfs }}
{{- end }}
{{- if .Values.informer.enabled }}
{{- $_ := set $config "holders" (dict "kubernetes" (dict "informer" "auto" "labels" .Values.informer.labels "owner_kinds" .Values.informer.ownerKinds)) }}
{{- end }}
{{- if .Values.tls.enabled }}
{{- $_ := set $config "web" (dict "config_file" "/etc/wattlens-web/web.yml" "probe_listen" "0.0.0.0:9480") }}
{{- end }}
{{- if .Values.clientSocket.enabled }}
{{- $_ := set $config "client" (dict "socket" "/run/wattlens/client/agent.sock") }}
{{- end }}
{{- mustMergeOverwrite $config (deepCopy .Values.agent.config) | toYaml }}
{{- end }}

{{- define "wattlens.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "wattlens.user" -}}
{{- if or .Values.runAsNonRoot .Values.simulated.enabled -}}
runAsUser: 65532
runAsGroup: 65532
runAsNonRoot: true
{{- else -}}
runAsUser: 0 # the pod-resources socket and RAPL are root-only files
runAsNonRoot: false
{{- end }}
{{- end }}

{{- /* Environment by which a container gets every GPU without requesting nvidia.com/gpu, which would take one from users. */ -}}
{{- define "wattlens.deviceEnv" -}}
{{- if not .Values.simulated.enabled }}
- {name: WATTLENS_DEVICE_ACCESS, value: {{ .Values.deviceAccess }}} # for `wattlens doctor`, which says what is wrong with it
{{- if eq .Values.deviceAccess "runtimeClass" }}
- {name: NVIDIA_VISIBLE_DEVICES, value: all}
{{- else if eq .Values.deviceAccess "cdi" }}
- {name: NVIDIA_VISIBLE_DEVICES, value: management.nvidia.com/gpu=all}
{{- end }}
{{- if has .Values.deviceAccess (list "runtimeClass" "cdi") }}
- {name: NVIDIA_DRIVER_CAPABILITIES, value: utility}
{{- end }}
{{- end }}
{{- end }}

{{- /* Resources of a container that uses the GPUs. */ -}}
{{- define "wattlens.deviceResources" -}}
{{- if and (eq .root.Values.deviceAccess "dra") (not .root.Values.simulated.enabled) }}
claims: [{name: devices}]
{{- end }}
{{ toYaml .resources }}
{{- end }}

{{- /* What an agent's pod and the preflight's have in common, but for their containers. */ -}}
{{- define "wattlens.nodePod" -}}
serviceAccountName: {{ include "wattlens.nodeName" . }}
automountServiceAccountToken: {{ and .Values.informer.enabled (not .Values.preflight.enabled) }}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- if .Values.simulated.enabled }}
shareProcessNamespace: true # the agent sees the simulated workloads' pids
{{- else }}
{{- if eq .Values.deviceAccess "dra" }}
resourceClaims:
  - {name: devices, resourceClaimTemplateName: {{ include "wattlens.nodeName" . }}}
{{- else if and (ne .Values.deviceAccess "nri") .Values.runtimeClassName }}
runtimeClassName: {{ .Values.runtimeClassName }} # brings the driver's libnvidia-ml.so.1
{{- end }}
hostPID: true # NVML names the holders of a GPU by the host's pids; across namespaces they read 0
{{- end }}
{{- if and .Values.priority.className (not .Values.preflight.enabled) }}
priorityClassName: {{ .Values.priority.className }}
{{- end }}
securityContext:
  seccompProfile: {type: RuntimeDefault}
{{- if not .Values.simulated.enabled }}
{{- with .Values.agent.nodeSelectorTerms }}
affinity:
  nodeAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms: # any of them
        {{- toYaml . | nindent 8 }}
{{- end }}
{{- with .Values.agent.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "wattlens.agentMounts" -}}
- {name: config, mountPath: /etc/wattlens, readOnly: true} # a directory: subPath would never see an update
- {name: ledger, mountPath: /var/lib/wattlens}
{{- if not (or .Values.runAsNonRoot .Values.simulated.enabled) }}
- {name: pod-resources, mountPath: /var/lib/kubelet/pod-resources, readOnly: true}
- {name: pod-logs, mountPath: /var/log/pods, readOnly: true} # the names of its folders prove which uid a pod has
{{- end }}
{{- if .Values.tls.enabled }}
- {name: web, mountPath: /etc/wattlens-web, readOnly: true} # a directory likewise: renewed certificates come without a restart
{{- end }}
- {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "wattlens.agentVolumes" -}}
- name: config
  configMap: {name: {{ include "wattlens.nodeName" . }}}
- name: ledger
{{- if .Values.simulated.enabled }}
  emptyDir: {sizeLimit: 1Gi}
{{- else }}
{{- if .Values.runAsNonRoot }}
  hostPath: {path: {{ .Values.agent.statePath }}, type: Directory} # made before, owned by 65532; a fresh one would be root's
{{- else }}
  hostPath: {path: {{ .Values.agent.statePath }}, type: DirectoryOrCreate}
{{- end }}
{{- end }}
{{- if not (or .Values.runAsNonRoot .Values.simulated.enabled) }}
- name: pod-resources
  hostPath: {path: {{ .Values.agent.kubeletPath }}/pod-resources, type: Directory}
- name: pod-logs
  hostPath: {path: {{ .Values.agent.podLogsPath }}, type: DirectoryOrCreate}
{{- end }}
{{- if .Values.tls.enabled }}
- name: web
  secret: {secretName: {{ .Values.tls.secretName }}, defaultMode: 0440}
{{- end }}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
{{- end }}

{{- /* The pod of a report's job: root = everything, words = its arguments, its own mounts and volumes in addition to those of all jobs. */ -}}
{{- define "wattlens.jobPod" -}}
restartPolicy: Never # each try keeps its log
serviceAccountName: wattlens-report
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsUser: 65532
  runAsGroup: 65532
  runAsNonRoot: true
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: report
    image: {{ include "wattlens.image" (dict "root" .root "kind" "report") }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      {{- range .words }}
      - {{ . | quote }}
      {{- end }}
    env:
      - {name: HOME, value: /tmp}
      - {name: MPLCONFIGDIR, value: /tmp}
    resources:
      {{- .resources | nindent 6 }}
    securityContext:
      {{- include "wattlens.restricted" . | nindent 6 }}
    volumeMounts:
      {{- .mounts | nindent 6 }}
      - {name: tmp, mountPath: /tmp}
volumes:
  - name: data
    persistentVolumeClaim: {claimName: wattlens-report}
  - name: tmp
    emptyDir: {sizeLimit: 20Gi}
{{- with .volumes }}
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* How a report's job is run. */ -}}
{{- define "wattlens.jobTerms" -}}
timeZone: Etc/UTC
concurrencyPolicy: Forbid
startingDeadlineSeconds: 86400 # a controller that was away makes up for it
successfulJobsHistoryLimit: 2
failedJobsHistoryLimit: 4
{{- end }}

{{- define "wattlens.reportMounts" -}}
- {name: data, subPath: days, mountPath: /data/days, readOnly: true}
- {name: data, subPath: reports, mountPath: /data/reports}
- {name: config, mountPath: /etc/wattlens, readOnly: true}
{{- if .Values.report.signingSecretName }}
- {name: key, mountPath: /run/secrets/wattlens, readOnly: true}
{{- end }}
{{- end }}

{{- define "wattlens.reportVolumes" -}}
- name: config
  configMap: {name: wattlens-report}
{{- with .Values.report.signingSecretName }}
- name: key # for its owner, and by fsGroup for the job's group, which has no other member
  secret: {secretName: {{ . }}, defaultMode: 0400}
{{- end }}
{{- end }}
