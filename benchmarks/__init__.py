"""Speed and quality measured side by side with peers, in one run; each prints a table and JSON.

python -m benchmarks.views         augmented views per second against lightly
python -m benchmarks.overhead      images per second under our trainer against a plain PyTorch loop
python -m benchmarks.startup       seconds until the help is there, against the imports alone
python -m benchmarks.simclr_loop   SimCLR as a plain PyTorch loop: time and accuracy to measure `cli.py fit` against
python -m benchmarks.pretraining   pretraining methods on real images: accuracy and images per second against lightly
python -m benchmarks.evaluation    images per second of the metrics of detection against pycocotools
python -m benchmarks.explanations maps of `cli.py explain` against captum, and against the objects of built-in images
python -m benchmarks.samplers      best trial of `cli.py tune` with TPE against random search
python -m benchmarks.serving       images per second of `cli.py serve` under load against the network without HTTP
python -m benchmarks.lora          memory and speed of training with LoRA against training of all weights
python -m benchmarks.translation   tokens and sentences per second of a Transformer against JoeyNMT
"""
