/**
 * Opens the shipped workflows in the page of a running ComfyUI and writes what it finds as JSON.
 *
 * `node page.mjs JOB`: JOB is a JSON file with `library` (a folder with playwright-core in its
 * node_modules), `browser` (a Chromium), `url`, `pack` (the folder name the server knows us by),
 * `workflows` (name -> what the file holds), `renderers` ("canvas", and "vue" where that is offered),
 * `help` (a node id, and words of its help page) and, to take pictures instead of looking,
 * `pictures` (each `name`, `file`, and `region`: left, top, width, height in units of the graph).
 */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const job = JSON.parse(readFileSync(process.argv[2], "utf8"));
const { chromium } = createRequire(join(job.library, "/"))("playwright-core");
const PATIENCE = 60_000;
/** Milliseconds for widgets that are made after a graph is there. */
const SETTLE = 1000;

async function opened(browser, settings, options = {}) {
  const page = await browser.newPage({ viewport: { width: 1600, height: 900 }, ...options });
  page.setDefaultTimeout(PATIENCE);
  page.errors = [];
  page.on("console", (line) => {
    if (line.type() === "error") page.errors.push(`${line.text()} (${line.location().url})`);
  });
  page.on("pageerror", (error) => page.errors.push(error.stack ?? String(error)));
  const calm = {
    "Comfy.TutorialCompleted": true,
    "Comfy.Minimap.Visible": false,
    "Comfy.RightSidePanel.IsOpen": false,
  };
  const data = { ...calm, ...settings };
  await page.request.post(`${job.url}/api/settings`, { data });
  await page.goto(job.url);
  await page.waitForFunction(() => window.app?.graph && window.app?.extensionManager);
  await page.waitForLoadState("networkidle");
  await page.waitForTimeout(SETTLE);
  return page;
}

/** What users do: Templates, our folder, the card. Returns the names on the cards. */
async function openTemplate(page, name) {
  await page.evaluate(() => window.app.extensionManager.command.execute("Comfy.BrowseTemplates"));
  const dialog = page.getByRole("dialog");
  await dialog.getByText(job.pack, { exact: true }).first().click();
  const cards = dialog.getByText(/^LTX-2 \d/);
  await dialog.getByText(name, { exact: true }).last().waitFor();
  await page.waitForTimeout(SETTLE); // thumbnails
  const names = [...new Set(await cards.allInnerTexts())];
  await dialog.getByText(name, { exact: true }).last().click();
  await page.waitForFunction(
    (wanted) => window.app.extensionManager.workflow.activeWorkflow?.filename === wanted,
    name,
  );
  await page.waitForTimeout(SETTLE);
  return names;
}

async function load(page, graph, name) {
  await page.evaluate(
    ([graph, name]) => window.app.loadGraphData(graph, true, true, name, { openSource: "template" }),
    [graph, name],
  );
  await page.waitForTimeout(SETTLE);
}

/** What stands on the page about things that are not there. */
const complaints = (page) =>
  page.evaluate(() =>
    document.body.innerText.split("\n").filter((line) => /missing|not found/i.test(line)),
  );

/** The open graph: its zoom, its nodes as they are drawn, what it sends to the server. */
const graphOf = (page) =>
  page.evaluate(async () => {
    const { app, LiteGraph } = window;
    const scale = app.canvas.ds.scale;
    const sizeOf = (node) => {
      const element = LiteGraph.vueNodesMode
        ? document.querySelector(`[data-node-id="${node.id}"]`)
        : null;
      if (!element) return [node.size[0], node.size[1] + LiteGraph.NODE_TITLE_HEIGHT];
      const { width, height } = element.getBoundingClientRect();
      return [width / scale, height / scale];
    };
    const nodes = app.graph.nodes.map((node) => ({
      id: String(node.id),
      type: node.type,
      known: node.type in LiteGraph.registered_node_types,
      red: Boolean(node.has_errors),
      at: [node.pos[0], node.pos[1] - LiteGraph.NODE_TITLE_HEIGHT],
      size: sizeOf(node),
      hidden: (node.widgets ?? []).filter((widget) => widget.hidden).map((widget) => widget.name),
    }));
    return { scale, nodes, prompt: (await app.graphToPrompt()).output };
  });

/** Opens and closes the rare settings of every node; returns what was hidden in between. */
const unfolded = (page) =>
  page.evaluate(() => {
    const press = () => {
      for (const node of window.app.graph.nodes) {
        node.widgets?.find((widget) => widget.name === "more settings")?.callback();
      }
    };
    press();
    const hidden = window.app.graph.nodes.flatMap((node) =>
      (node.widgets ?? []).filter((widget) => widget.hidden).map((widget) => widget.name),
    );
    press();
    return hidden;
  });

async function helpOf(page) {
  const id = await page.evaluate((type) => {
    const node = window.app.graph.nodes.find((node) => node.type === type);
    window.app.canvas.selectNode(node);
    window.app.canvas.setDirty(true, true);
    return node.id;
  }, job.help.node);
  await page.getByTestId("info-button").click();
  const words = page.getByText(job.help.words, { exact: true });
  await words.waitFor();
  return { id, shown: await words.count() };
}

async function look(browser) {
  const page = await opened(browser, { "Comfy.VueNodes.Enabled": false });
  const found = { empty: page.errors.splice(0), templates: null, canvas: {}, vue: {} };
  found.extensions = await page.evaluate(() => window.app.extensions.map(({ name }) => name));
  for (const [name, graph] of Object.entries(job.workflows)) {
    if (!found.templates) found.templates = await openTemplate(page, name);
    else await load(page, graph, name);
    const seen = await graphOf(page);
    const open = await unfolded(page);
    const said = await complaints(page);
    found.canvas[name] = { ...seen, unfolded: open, complaints: said, errors: page.errors.splice(0) };
  }
  found.help = await helpOf(page);
  found.absent = await withoutFile(page);
  found.errors = page.errors.splice(0);
  await page.close();
  if (job.renderers.includes("vue")) await lookAtVue(browser, found);
  return found;
}

/** What the page says of a model that is not there: the other checks rest on its saying it. */
async function withoutFile(page) {
  const [graph] = Object.values(structuredClone(job.workflows));
  const loader = graph.nodes.find((node) => node.properties.models);
  loader.properties.models[0].name = loader.widgets_values[0] = "absent.safetensors";
  await load(page, graph, "absent");
  await page.waitForTimeout(SETTLE);
  const said = await complaints(page);
  page.errors.length = 0;
  return said;
}

async function lookAtVue(browser, found) {
  const page = await opened(browser, { "Comfy.VueNodes.Enabled": true });
  page.errors.length = 0;
  for (const [name, graph] of Object.entries(job.workflows)) {
    await load(page, graph, name);
    found.vue[name] = { ...(await graphOf(page)), errors: page.errors.splice(0) };
  }
  await page.request.post(`${job.url}/api/settings`, { data: { "Comfy.VueNodes.Enabled": false } });
  await page.close();
}

async function takePictures(browser) {
  const size = { viewport: { width: 2000, height: 1200 }, deviceScaleFactor: 2 };
  const page = await opened(browser, { "Comfy.VueNodes.Enabled": false }, size);
  for (const { name, file, region } of job.pictures) {
    await load(page, job.workflows[name], name);
    const [left, top, width, height] = region;
    const clip = await page.evaluate(
      ([left, top]) => {
        const { canvas } = window.app;
        canvas.ds.scale = 1;
        canvas.ds.offset = [200 - left, 150 - top];
        canvas.setDirty(true, true);
        const { x, y } = canvas.canvas.getBoundingClientRect();
        return { x: x + 200, y: y + 150 };
      },
      [left, top],
    );
    await page.waitForTimeout(3 * SETTLE); // pictures and clips inside of nodes
    await page.screenshot({ path: file, clip: { ...clip, width, height } });
  }
}

const browser = await chromium.launch({ executablePath: job.browser, args: ["--no-sandbox"] });
try {
  const found = job.pictures ? await takePictures(browser) : await look(browser);
  process.stdout.write(JSON.stringify(found ?? {}));
} finally {
  await browser.close();
}
