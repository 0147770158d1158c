// Reads Kubernetes' objects from standard input, and prints them as Istio's injector changes them, with the templates
// and settings of its own chart. Arguments are further settings of that: values.pilot.env.ENABLE_NATIVE_SIDECARS=false
package main

import (
	"log"
	"os"

	"istio.io/istio/operator/pkg/render"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/kube/inject"
)

func main() {
	settings := append([]string{"profile=empty", "components.pilot.enabled=true"}, os.Args[1:]...)
	components, _, err := render.GenerateManifest(nil, settings, false, nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	data := map[string]map[string]any{}
	for _, component := range components {
		for _, object := range component.Manifests {
			if object.GetKind() == "ConfigMap" {
				data[object.GetName()], _ = object.Object["data"].(map[string]any)
			}
		}
	}
	text := func(name, key string) string {
		value, found := data[name][key].(string)
		if !found {
			log.Fatalf("the chart has no %s in a ConfigMap %s", key, name)
		}
		return value
	}
	config, err := inject.UnmarshalConfig([]byte(text("istio-sidecar-injector", "config")))
	if err != nil {
		log.Fatal(err)
	}
	values, err := inject.NewValuesConfig(text("istio-sidecar-injector", "values"))
	if err != nil {
		log.Fatal(err)
	}
	meshConfig, err := mesh.ApplyMeshConfigDefaults(text("istio", "mesh"))
	if err != nil {
		log.Fatal(err)
	}
	warn := func(warning string) { log.Print(warning) }
	if err := inject.IntoResourceFile(nil, config.Templates, values, "", meshConfig, os.Stdin, os.Stdout, warn); err != nil {
		log.Fatal(err)
	}
}
