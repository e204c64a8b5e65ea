/** Every node this folder dresses up. A test compares the list with the Python side. */
export const FOLDED = [
  "LTX2Load",
  "LTX2Prompt",
  "LTX2Size",
  "LTX2Generate",
  "LTX2SaveVideo",
  "LTX2AVSPrompt",
  "LTX2Guide",
  "LTX2Reference",
  "LTX2ICLora",
  "LTX2StageSampler",
  "LTX2Guidance",
];
