"""The models that the explorers offer."""

# What is shown, and the name by which `load_model`, `estimate` and `shape_of` know it.
LOADABLE = {
    "pocket": "pocket",
    "tiny_starcoder_py": "bigcode/tiny_starcoder_py",
    "StarCoderBase-1B": "bigcode/starcoderbase-1b",
    "Llama-2-7B": "meta-llama/Llama-2-7b-hf",
}
MODELS = LOADABLE | {"GPT-3 175B": "GPT-3 175B"}  # GPT-3's shapes are known, its weights are not to be had
# The usual targets in attention: PEFT's choice for GPTBigCode and for Llama, and that of the LoRA paper for GPT-3.
USUAL_TARGETS = {"gpt_bigcode": ("c_attn",), "llama": ("q_proj", "v_proj"), "gpt3": ("q_proj", "v_proj")}
