// The page: ?board=UID&prometheus=ADDRESS&scrape=MS&theme=dark|light, and from, to and var-NAME as in Grafana's addresses.
import { createTheme } from "@grafana/data";
import { GlobalStyles, PortalContainer, ThemeContext } from "@grafana/ui";
import { registerRuntimeDataSource } from "@grafana/scenes";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router-dom";
import covered from "../covered.json";
import { setUp } from "./grafana.js";
import { stat } from "./panels/stat.jsx";
import { stateTimeline } from "./panels/state-timeline.jsx";
import { table } from "./panels/table.jsx";
import { timeseries } from "./panels/timeseries.jsx";
import { Prometheus } from "./prometheus.js";
import { settled } from "./report.js";
import { scene } from "./scene.jsx";
import "./page.css";

const plugins = { stat, "state-timeline": stateTimeline, table, timeseries };

async function show() {
  const choices = new URLSearchParams(location.search);
  const theme = createTheme({ colors: { mode: choices.get("theme") ?? "dark" } });
  const prometheus = new Prometheus(choices.get("prometheus"), Number(choices.get("scrape") ?? 15000));
  for (const type of covered.panels) {
    if (type !== "row" && !plugins[type]) throw new Error(`covered.json names ${type}, which nothing draws`);
  }
  setUp(prometheus, plugins, theme);
  registerRuntimeDataSource({ dataSource: prometheus });
  const boards = await (await fetch("boards.json")).json();
  const json = boards.find(({ uid }) => uid === choices.get("board"));
  document.documentElement.style.background = theme.colors.background.canvas;
  document.documentElement.style.colorScheme = theme.colors.mode;
  const model = scene(json, choices, boards.map(({ uid, title, tags }) => ({ uid, title, tags })));
  createRoot(document.getElementById("root")).render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <BrowserRouter>
        <main>
          <h1>{json.title}</h1>
          <model.Component model={model} />
        </main>
        <PortalContainer />
      </BrowserRouter>
    </ThemeContext.Provider>
  );
  return settled(model, json);
}

const told = document.getElementById("report");
show().then(
  (report) => {
    told.textContent = JSON.stringify(report);
    told.dataset.done = "yes";
  },
  (error) => {
    told.textContent = JSON.stringify({ failure: error.stack });
    told.dataset.done = "yes";
  }
);
