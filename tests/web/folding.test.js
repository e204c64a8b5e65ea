import assert from "node:assert/strict";
import { test } from "node:test";
import { fold, isOpen, label, remember } from "../../web/js/lib/folding.js";

function storage() {
  const values = new Map();
  return {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
}

test("only advanced widgets are hidden, in both ways the renderers read", () => {
  const widgets = [{ options: {} }, { options: { advanced: true } }, {}];
  assert.equal(fold(widgets, false), 1);
  assert.deepEqual(widgets[1], { hidden: true, options: { advanced: true, hidden: true } });
  assert.deepEqual(widgets[0], { options: {} });
  fold(widgets, true);
  assert.equal(widgets[1].hidden, false);
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
