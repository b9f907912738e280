// Command helm is the Helm client, built here so that its Kubernetes packages are compiled once for all tools.
package main

import (
	"errors"
	"log/slog"
	"os"

	helm "helm.sh/helm/v4/pkg/cmd"
	"helm.sh/helm/v4/pkg/kube"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	kube.ManagedFieldsManager = "helm"
	command, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
	if err != nil {
		slog.Error("helm", slog.Any("error", err))
		os.Exit(1)
	}
	if err := command.Execute(); err != nil {
		if exit, ok := errors.AsType[helm.CommandError](err); ok {
			os.Exit(exit.ExitCode)
		}
		os.Exit(1)
	}
}
