// Validates objects of the Prometheus operator, a JSON list on stdin: one line each, "ok" or what is wrong.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const there = `${process.argv[2]}/node_modules/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index.js`;
const models = await import(pathToFileURL(there));
for (const object of JSON.parse(readFileSync(0))) {
  try {
    new models[object.kind](object).validate();
    console.log("ok");
  } catch (error) {
    console.log(error.message.replaceAll("\n", " "));
  }
}
