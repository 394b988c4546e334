// Drives one headless Chromium: reads {program, views: [{name, url, width, height, picture}]} from stdin, three views at a time,
// and writes the report of each as a line of JSON.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const ARGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const lines = [];
for await (const line of createInterface({ input: process.stdin })) lines.push(line);
const { program, views } = JSON.parse(lines.join("\n"));
const browser = await chromium.launch({ executablePath: program, args: ARGS, timeout: 30_000 });

async function look(view) {
  const page = await browser.newPage({ viewport: { width: view.width, height: view.picture ? view.height : 1000 }, timezoneId: "UTC", locale: "en-US" });
  const told = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && told.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => told.push(`exception: ${error.stack}`));
  // An image that is asked for twice in one frame is aborted once.
  const isAborted = (request) => request.failure()?.errorText === "net::ERR_ABORTED";
  page.on("requestfailed", (request) => isAborted(request) || told.push(`${request.failure()?.errorText}: ${request.url()}`));
  page.on("response", (response) => response.status() >= 400 && told.push(`${response.status()}: ${response.url()}`));
  try {
    await page.goto(view.url, { waitUntil: "load", timeout: 60_000 });
    await page.waitForSelector("#report[data-done]", { state: "attached", timeout: 120_000 });
  } catch (error) {
    await page.close();
    return { name: view.name, console: told, failure: error.message };
  }
  const report = JSON.parse(await page.locator("#report").textContent());
  const clip = { x: 0, y: 0, width: view.width, height: Math.min(report.height ?? 1000, view.height) };
  if (view.picture) await page.screenshot({ path: view.picture, clip, timeout: 120_000 });
  await page.close();
  return { name: view.name, console: told, ...report };
}

// When anybody adds or removes a network interface, as a container engine does, Chromium drops the requests that it has open,
// and a page that lost its script or its data never gets ready.
async function lookUndisturbed(view) {
  for (let left = 5; ; left--) {
    const report = await look(view);
    if (!left || !report.console.some((line) => line.includes("ERR_NETWORK_CHANGED"))) return report;
  }
}

const reports = [];
async function worker(queue) {
  for (const [i, view] of queue) reports[i] = await lookUndisturbed(view);
}
try {
  const queue = views.entries();
  await Promise.all(Array.from({ length: 3 }, () => worker(queue)));
  // A busy machine may take too long for three pages at a time: what was not ready is drawn once more, alone.
  for (const [i, view] of views.entries()) if (reports[i].failure || reports[i].late) reports[i] = await lookUndisturbed(view);
} finally {
  await browser.close();
}
for (const report of reports) process.stdout.write(JSON.stringify(report) + "\n");
