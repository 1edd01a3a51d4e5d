module otelbridge.local/stack/kubeconform

go 1.24.0

tool github.com/yannh/kubeconform/cmd/kubeconform

require github.com/yannh/kubeconform v0.8.0
