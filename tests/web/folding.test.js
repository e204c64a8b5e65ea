import assert from "node:assert/strict";
import { test } from "node:test";
import { fold, heightAfter, isOpen, label, remember } from "../../web/js/lib/folding.js";

function storage() {
  const values = new Map();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
}

test("only the rare widgets are hidden, in both ways the renderers read", () => {
  const widgets = [{ name: "a", options: {} }, { name: "b", options: {} }, { name: "c" }];
  assert.equal(fold(widgets, ["b", "c"], false), 2);
  assert.deepEqual(widgets[0], { name: "a", options: {} });
  for (const widget of widgets.slice(1)) {
    assert.equal(widget.hidden, true);
    assert.equal(widget.options.hidden, true);
    assert.deepEqual(widget.computeSize(), [0, -4]);
  }
  fold(widgets, ["b", "c"], true);
  assert.deepEqual(widgets[1], { name: "b", hidden: false, options: { hidden: false } });
});

test("a node keeps the room its user gave it, open or folded", () => {
  assert.equal(heightAfter(330, 166, 136), 300);
  assert.equal(heightAfter(300, 136, 166), 330);
  assert.equal(heightAfter(100, 166, 136), 136);
});

test("what was open stays open in this tab, node by node", () => {
  const tab = storage();
  remember(tab, 3, true);
  assert.equal(isOpen(tab, 3), true);
  assert.equal(isOpen(tab, 4), false);
  remember(tab, 3, false);
  assert.equal(isOpen(tab, 3), false);
});

test("the button says how many settings it hides", () => {
  assert.equal(label(6, false), "6 more settings");
  assert.equal(label(6, true), "fewer settings");
});
