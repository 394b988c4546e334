// Prometheus by its HTTP API as Grafana's Prometheus data source asks it. Its package is under the AGPL and is not used: this is
// written from the documentation of both. Known to differ: no exemplars, no query hints, no streaming.
import { FieldType, rangeUtil, renderLegendFormat } from "@grafana/data";
import { RuntimeDataSource, sceneGraph } from "@grafana/scenes";
import { from, of } from "rxjs";

const TYPE = "prometheus";
const number = (text) => (text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text));
const braces = (metric) => Object.keys(metric).filter((name) => name !== "__name__");

function nameOf(metric, legend) {
  if (legend && legend !== "__auto") return renderLegendFormat(legend, metric);
  const labels = braces(metric).map((name) => `${name}="${metric[name]}"`);
  return `${metric.__name__ ?? ""}{${labels.join(", ")}}`;
}

export class Prometheus extends RuntimeDataSource {
  constructor(address, scrapeMs) {
    super(TYPE, "prometheus-of-the-test");
    Object.assign(this, { name: "Prometheus", address, scrapeMs, interval: `${scrapeMs}ms`, asked: [] });
    this.annotations = {
      prepareAnnotation: (annotation) => annotation,
      prepareQuery: (annotation) => ({
        ...(annotation.target ?? {}),
        refId: "Anno",
        expr: annotation.expr ?? annotation.target?.expr,
        interval: annotation.step || "60s",
        range: true,
      }),
      processEvents: (annotation, frames) => of(frames.flatMap((frame) => events(annotation, frame))),
    };
  }

  async get(path, parameters) {
    const answer = await fetch(`${this.address}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body = await answer.json();
    if (body.status !== "success") throw new Error(`${body.error} (${parameters.query ?? path})`);
    return body.data;
  }

  query(request) {
    return from(this.answer(request));
  }

  async answer(request) {
    const targets = request.targets.filter((target) => !target.hide && target.expr);
    const errors = [];
    const answers = await Promise.all(
      targets.map((target) => this.one(target, request).catch((error) => errors.push({ message: error.message, refId: target.refId })))
    );
    const found = answers.filter(Array.isArray);
    const tables = targets.flatMap((target, i) => (target.format === "table" && found[i]?.length ? [target.refId] : []));
    const data = targets.flatMap((target, i) => {
      if (!Array.isArray(answers[i])) return [];
      return target.format === "table" ? table(target, answers[i], tables) : answers[i].map((series) => frame(target, series));
    });
    return { data, errors: errors.length ? errors : undefined };
  }

  async one(target, request) {
    const least = target.interval ? rangeUtil.intervalToMs(target.interval) : this.scrapeMs;
    const stepMs = Math.max(request.intervalMs, least, 1);
    const rangeS = Math.round((request.range.to.valueOf() - request.range.from.valueOf()) / 1000);
    const rateMs = Math.max(stepMs + this.scrapeMs, 4 * this.scrapeMs);
    const scoped = {
      ...request.scopedVars,
      __rate_interval: { text: "", value: `${rateMs}ms` },
      __interval: { text: "", value: `${stepMs}ms` },
      __range: { text: "", value: `${rangeS}s` },
      __range_s: { text: "", value: rangeS },
    };
    const scene = request.scopedVars.__sceneObject?.value?.valueOf();
    const query = sceneGraph.interpolate(scene, target.expr, scoped, interpolated);
    this.asked.push(query);
    const end = Math.floor(request.range.to.valueOf() / stepMs) * stepMs;
    const start = Math.floor(request.range.from.valueOf() / stepMs) * stepMs;
    const data = target.instant
      ? await this.get("query", { query, time: request.range.to.valueOf() / 1000 })
      : await this.get("query_range", { query, start: start / 1000, end: end / 1000, step: stepMs / 1000 });
    const values = (series) => (series.values ?? [series.value]).map(([at, text]) => [at * 1000, number(text)]);
    if (data.resultType === "scalar") return [{ metric: {}, points: [[data.result[0] * 1000, number(data.result[1])]], stepMs }];
    return data.result.map((series) => ({ metric: series.metric, points: values(series), stepMs }));
  }

  async metricFindQuery(query, request) {
    const found = /^label_values\((?:(.+),\s*)?(\w+)\)$/s.exec(query.query ?? query);
    if (!found) throw new Error(`the net covers no variable query such as ${JSON.stringify(query)}`);
    const [, selector, label] = found;
    const scene = request.scopedVars.__sceneObject?.value?.valueOf();
    const span = { start: request.range.from.valueOf() / 1000, end: request.range.to.valueOf() / 1000 };
    const matched = selector ? { "match[]": sceneGraph.interpolate(scene, selector, request.scopedVars, interpolated) } : {};
    const values = await this.get(`label/${label}/values`, { ...matched, ...span });
    return values.map((text) => ({ text }));
  }
}

// Grafana escapes a variable for a regular expression within a PromQL string, and joins several values with |.
function interpolated(value, variable) {
  const plain = (text) => String(text).replace(/\\/g, "\\\\").replace(/"/g, '\\"');
  const escaped = (text) => String(text).replace(/[\\^$*+?.()|[\]{}]/g, "\\\\$&").replace(/"/g, '\\"');
  if (variable && !variable.multi && !variable.includeAll && !Array.isArray(value)) return plain(value);
  const values = (Array.isArray(value) ? value : [value]).map(escaped);
  return values.length === 1 ? values[0] : `(${values.join("|")})`;
}

function frame(target, { metric, points, stepMs }) {
  const name = nameOf(metric, target.legendFormat);
  return {
    refId: target.refId,
    name,
    meta: { type: "timeseries-multi" },
    fields: [
      { name: "Time", type: FieldType.time, config: { interval: target.instant ? undefined : stepMs }, values: points.map(([at]) => at) },
      { name: "Value", type: FieldType.number, config: { displayNameFromDS: name }, labels: metric, values: points.map(([, v]) => v) },
    ],
  };
}

// A query without an answer leaves no frame, and its neighbour's column is then called "Value" and no longer "Value #A"
// (grafana/grafana issues 52026 and 57855): dashboards have to bear both names.
function table(target, found, withData) {
  if (!found.length) return [];
  const labels = [...new Set(found.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const rows = found.flatMap(({ metric, points }) => points.map(([at, value]) => ({ metric, at, value })));
  return [
    {
      refId: target.refId,
      meta: { preferredVisualisationType: "table" },
      fields: [
        { name: "Time", type: FieldType.time, config: {}, values: rows.map(({ at }) => at) },
        ...labels.map((name) => ({
          name,
          type: FieldType.string,
          config: { filterable: true },
          values: rows.map(({ metric }) => metric[name] ?? ""),
        })),
        {
          name: withData.length > 1 ? `Value #${target.refId}` : "Value",
          type: FieldType.number,
          config: {},
          values: rows.map(({ value }) => value),
        },
      ],
    },
  ];
}

function events(annotation, { fields: [times, values], refId }) {
  const labels = values.labels ?? {};
  const stepMs = rangeUtil.intervalToMs(annotation.step || "60s");
  const tags = (annotation.tagKeys ?? "").split(",").filter((key) => key in labels);
  const text = (format) => (format ? renderLegendFormat(format, labels) : "");
  const found = [];
  for (let i = 0; i < times.values.length; i++) {
    if (!(values.values[i] > 0)) continue;
    const last = found.at(-1);
    if (last && times.values[i] - last.timeEnd <= stepMs) {
      last.timeEnd = times.values[i];
      last.isRegion = true;
    } else {
      const at = times.values[i];
      found.push({ time: at, timeEnd: at, title: text(annotation.titleFormat), text: text(annotation.textFormat), tags: tags.map((key) => labels[key]), refId });
    }
  }
  return found;
}
