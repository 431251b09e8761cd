"""The names that older versions wrote, and today's: the one place where a run of an older version is translated."""

# Quantities of layers.csv.
QUANTITIES = {
    b"credit": b"first_order_change",
    b"zero_share": b"sparsity",
    b"activation_deviation": b"activation_std",
    b"step_quality": b"gain_ratio",
    b"exam_disagreement": b"evaluation_disagreement",
    b"test_accuracy_of_six_views": b"test_accuracy_tta",
}

# Settings in config.json.
SETTINGS = {"pieces": "micro_batches", "test_views": "test_time_augmentation"}
# {name: the value that changes nothing}
REMOVED_SETTINGS = {"lookahead": False, "overlapping_pools": False, "shift_rate": 1.0}


def renamed_config(config: dict) -> dict:
    """config.json of an older version in today's names; one of today's is returned unchanged."""
    settings = config["settings"]
    for old, new in SETTINGS.items():
        if old in settings:
            settings[new] = settings.pop(old)
    for name, neutral in REMOVED_SETTINGS.items():
        if name in settings and settings[name] == neutral:
            del settings[name]
    if "alternating_flip" in settings or isinstance(settings.get("flip"), bool):
        alternating, flip = settings.pop("alternating_flip", False), settings.pop("flip", False)
        settings["flip"] = "alternating" if alternating else "random" if flip else "none"
    if settings.get("optimizer") == "adam" and settings.get("weight_decay"):
        settings["optimizer"] = "adamw"  # adam's weight decay was decoupled
    if isinstance(config.get("diagnostics"), dict) and "cadence" in config["diagnostics"]:
        intervals = config["diagnostics"].pop("cadence")
        config["diagnostics"]["intervals"] = {{"quality": "gain_ratio"}.get(k, k): v for k, v in intervals.items()}
    return config
