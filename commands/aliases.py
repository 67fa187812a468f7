"""Names of options in other programs and in papers, with the options here."""

PROGRAMS = {
    "model.optim.lr": "lr learning_rate base_lr",
    "model.optim.weight_decay": "weight_decay wd",
    "model.optim.optimizer": "optimizer optim opt",
    "model.optim.optimizer SGD --model.optim.optimizer.momentum": "momentum",
    "model.optim.schedule": "schedule scheduler sched lr_scheduler",
    "model.optim.warmup": "warmup warmup_steps warmup_ratio warmup_epochs",
    "model.optim.layer_decay": "layer_decay llrd",
    "model.backbone": "backbone arch architecture encoder",
    "model.weights": "weights pretrained",
    "model.frozen": "frozen freeze",
    "model.ensemble": "ensemble",
    "data.batch_size": "batch_size b bs batch per_device_train_batch_size",
    "data.workers": "workers num_workers j dataloader_num_workers",
    "data.root": "root dataset data_dir data_path data_root dataset_path",
    "data.image_size": "image_size img_size imgsz size input_size resolution",
    "data.val_split": "val_split",
    "data.label_fraction": "label_fraction",
    "data.num_labels": "num_labels",
    "trainer.max_epochs": "epochs max_epochs num_epochs n_epochs num_train_epochs",
    "trainer.max_steps": "max_steps steps num_steps",
    "trainer.devices": "devices gpus num_gpus",
    "trainer.accelerator": "accelerator device",
    "trainer.precision": "precision amp fp16 bf16 half",
    "trainer.accumulate_grad_batches": "accumulate_grad_batches gradient_accumulation_steps grad_accum",
    "trainer.gradient_clip_val": "gradient_clip_val clip_grad max_grad_norm grad_clip",
    "trainer.callbacks+": "callbacks callback",
    "trainer.strategy": "strategy",
    "seed_everything": "seed",
    "early_stopping": "early_stop early_stopping_patience",
    "find_lr": "auto_lr_find lr_find lr_finder",
    "ckpt_path": "resume checkpoint_path ckpt resume_from_checkpoint",
    "run_dir": "out output output_dir save_dir outdir log_dir logdir",
}
"""Options and what other programs call them."""

TECHNIQUES = {
    "data.augment": "augment augmentation aa auto_augment autoaugment",
    "data.augment randaugment": "randaugment rand_augment",
    "data.augment trivialaugment": "trivialaugment trivial_augment",
    "data.augment augmix": "augmix",
    "data.channels 1": "gray grayscale",
    "data.erasing": "erasing random_erasing random_erase reprob",
    "data.local_views": "local_views multi_crop multicrop local_crops_number",
    "data.normalization": "normalization normalize",
    "data.normalization mean_image": "mean_image",
    "data.repeats": "repeats repeated_augmentation repeated_aug aug_repeats",
    "model.activation": "activation act_layer",
    "model.activation maxout": "maxout",
    "model.aux_loss_weight": "aux_loss_weight aux_loss aux_weight",
    "model.cutmix": "cutmix cutmix_alpha",
    "model.distill.teacher": "distill distillation teacher teacher_model distill_teacher kd",
    "model.drop_block": "drop_block dropblock",
    "model.drop_path": "drop_path droppath drop_path_rate stochastic_depth",
    "model.ema_decay": "ema_decay ema model_ema",
    "model.head.dropout": "dropout drop_rate",
    "model.head.label_smoothing": "label_smoothing smoothing",
    "model.head.loss hinge": "hinge svm",
    "model.init": "init initialization initializer weight_init",
    "model.init lsuv": "lsuv",
    "model.mask_ratio": "mask_ratio masking_ratio pred_ratio",
    "model.masked_loss_weight": "masked_loss_weight ibot",
    "model.lora.rank": "lora lora_r lora_rank peft",
    "model.lora.alpha": "lora_alpha",
    "model.lora.dropout": "lora_dropout",
    "model.mixing.manifold_mixup": "manifold_mixup",
    "model.mixing.patchup_hard": "patchup",
    "model.mixing.puzzlemix": "puzzlemix puzzle_mix",
    "model.mixup": "mixup mixup_alpha",
    "model.normalize_pixels": "norm_pix_loss norm_pix",
    "model.optim.decay loss": "l2 l2_regularization",
    "model.optim.l1": "l1 elastic_net lasso",
    "model.optim.optimizer LBFGS": "lbfgs l_bfgs",
    "model.optim.sam": "sam",
    "model.tta.crops ten": "ten_crop tencrop",
    "model.unfreeze": "unfreeze gradual_unfreezing gradual_unfreeze",
    "trainer.callbacks+ StochasticWeightAveraging --trainer.callbacks.swa_lrs": "swa",
}
"""Options, with a value where it takes one, and what papers and other programs call the technique."""

OF_TASKS = {
    "model.cutmix": "Classification, MultilabelClassification",
    "model.distill.teacher": "Classification",
    "model.ensemble": "Classification",
    "model.masked_loss_weight": "DINO",
    "model.mixing.manifold_mixup": "Classification",
    "model.mixing.patchup_hard": "Classification",
    "model.mixing.puzzlemix": "Classification",
    "model.mixup": "Classification, MultilabelClassification",
    "model.normalize_pixels": "MAE, VideoMAE",
}
"""Options that less than three tasks have, and which."""


def _by_alias(options: dict[str, str]) -> dict[str, str]:
    return {alias: option for option, aliases in options.items() for alias in aliases.split()}


TECHNIQUE = _by_alias(TECHNIQUES)
MEANT = _by_alias(PROGRAMS) | TECHNIQUE
