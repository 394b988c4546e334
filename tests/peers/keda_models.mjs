// Validates KEDA objects, a JSON list on stdin: one line each, "ok" or the error.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const models = await import(pathToFileURL(`${process.argv[2]}/node_modules/@kubernetes-models/keda/keda.sh/v1alpha1/index.js`));
for (const object of JSON.parse(readFileSync(0))) {
  try {
    new models[object.kind](object).validate();
    console.log("ok");
  } catch (error) {
    console.log(error.message.replaceAll("\n", " "));
  }
}
