/** Rare settings by node, made from the schemas: older servers do not tell them. */
export const FOLDED = {
  "LTX2Load": ["video_vae", "audio_vae", "upscale_model", "distilled_lora", "hold_weights", "memory_budget"],
  "LTX2LoadTextEncoder": ["text_parts"],
  "LTX2Prompt": ["negative_prompt"],
  "LTX2AVSPrompt": ["voice", "music", "style"],
  "LTX2Size": ["width", "height"],
  "LTX2Guide": ["strength_stage_2", "fit", "compression"],
  "LTX2Reference": ["attention_strength", "frame_rate"],
  "LTX2ICLora": ["attention_strength", "frame_rate"],
  "LTX2Generate": ["steps", "cfg", "audio_cfg", "stg", "modality_scale", "rescale"],
  "LTX2Guidance": ["stg_blocks", "skip_step"],
  "LTX2StageSampler": ["noise"],
  "LTX2SaveVideo": ["format", "quality", "loudness"],
};
