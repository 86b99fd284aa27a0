"""Random vision-language models of a few thousand parameters, with a byte-level tokenizer."""

from __future__ import annotations

from typing import Any

SPECIAL = [
    "<pad>",
    "<s>",
    "</s>",
    "<image>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
]
SPECIAL += [f"<row_{r}_col_{c}>" for r in range(1, 3) for c in range(1, 3)]

LLAVA_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}</s>"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ p['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
IDEFICS_TEMPLATE = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}:{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image>{% else %} {{ p['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def tokenizer() -> Any:
    """Bytes, and nothing merged."""
    import tokenizers
    import transformers
    from tokenizers import decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet])}
    made = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIAL)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
TEXT = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
}


def llava() -> tuple[Any, Any]:
    """Model and processor."""
    import torch
    import transformers as t

    torch.manual_seed(0)
    tok = tokenizer()
    tok.add_tokens([], special_tokens=True)
    image_id = tok.convert_tokens_to_ids("<image>")
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**VISION),
        text_config=t.LlamaConfig(vocab_size=len(tok), **TEXT),
        image_token_index=image_id,
        vision_feature_layer=-1,
    )
    processor = t.LlavaProcessor(
        image_processor=t.CLIPImageProcessor(
            size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
        ),
        tokenizer=tok,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=LLAVA_TEMPLATE,
        num_additional_image_tokens=1,
    )
    return t.LlavaForConditionalGeneration(config).eval(), processor


def qwen2_vl() -> tuple[Any, Any]:
    """Model and processor."""
    import torch
    import transformers as t

    torch.manual_seed(0)
    tok = tokenizer()
    ids = {
        name: tok.convert_tokens_to_ids(f"<|{name}|>")
        for name in ("vision_start", "vision_end", "image_pad", "video_pad")
    }
    config = t.Qwen2VLConfig(
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 48,
            "num_heads": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "mlp_ratio": 2,
        },
        text_config={
            "vocab_size": len(tok),
            **TEXT,
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 2]},
            "rope_parameters": {
                "rope_type": "default",
                "mrope_section": [2, 2, 2],
                "rope_theta": 10000.0,
            },
        },
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"],
        vision_end_token_id=ids["vision_end"],
    )
    processor = t.Qwen2VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=56 * 56),
        tokenizer=tok,
        video_processor=t.Qwen2VLVideoProcessor(),
        chat_template=QWEN_TEMPLATE,
    )
    return t.Qwen2VLForConditionalGeneration(config).eval(), processor


def idefics3() -> tuple[Any, Any]:
    """Model and processor."""
    import torch
    import transformers as t

    torch.manual_seed(0)
    tok = tokenizer()
    config = t.Idefics3Config(
        vision_config=dict(VISION),
        text_config=t.LlamaConfig(vocab_size=len(tok), pad_token_id=0, **TEXT),
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
    )
    processor = t.Idefics3Processor(
        image_processor=t.Idefics3ImageProcessor(
            size={"longest_edge": 28},
            max_image_size={"longest_edge": 28},
            do_image_splitting=False,
        ),
        tokenizer=tok,
        image_seq_len=1,
        chat_template=IDEFICS_TEMPLATE,
    )
    return t.Idefics3ForConditionalGeneration(config).eval(), processor


MAKERS = {"llava": llava, "qwen2_vl": qwen2_vl, "idefics3": idefics3}
