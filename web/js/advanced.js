/** Folds rare settings away in the canvas renderer; the other renderer does so by itself. */

import { app } from "../../../scripts/app.js";
import { fold, heightAfter, isOpen, label, remember } from "./lib/folding.js";
import { FOLDED } from "./lib/node_ids.js";

const BUTTON = "more settings";

app.registerExtension({
  name: "ltx2.advanced",

  nodeCreated(node) {
    if (!(node.comfyClass in FOLDED) || window.LiteGraph?.vueNodesMode) return;
    const before = node.computeSize()[1];
    // `options.serialize` keeps the button out of the prompt, `serialize` out of the file.
    const button = node.addWidget("button", BUTTON, null, () => toggle(node.id), { serialize: false });
    button.serialize = false;
    show(node, false, before);
  },

  /** Undo and tab switches rebuild every node: bring back what was open. */
  afterConfigureGraph() {
    for (const node of app.graph.nodes ?? []) {
      if (!isOpen(window.sessionStorage, node.id)) continue;
      const [, height] = node.size; // of the open node, if it was saved so
      show(node, true, node.computeSize()[1]);
      node.setSize([node.size[0], Math.max(height, node.computeSize()[1])]);
    }
  },
});

/** Finds the live node each time: the one that made the button may be gone. */
function toggle(id) {
  const node = app.graph.getNodeById(id);
  if (!node) return;
  const open = !isOpen(window.sessionStorage, id);
  remember(window.sessionStorage, id, open);
  show(node, open, node.computeSize()[1]);
}

/** Shows or hides the rare settings; `before` is the height that the node needed until now. */
function show(node, open, before) {
  const button = (node.widgets ?? []).find((widget) => widget.name === BUTTON);
  if (!button) return;
  const count = fold(node.widgets, FOLDED[node.comfyClass], open);
  button.label = label(count, open);
  const [width, needed] = node.computeSize();
  const height = heightAfter(node.size[1], before, needed);
  node.setSize([Math.max(node.size[0], width), height]);
  node.setDirtyCanvas?.(true, true);
}
