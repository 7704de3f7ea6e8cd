"""The average of several checkpoints' weights: often better than each, at the price of one (Wortsman et al. 2022, "Model soups").

    python average.py a.pt b.pt --out average.pt

They have to come from one another or from the same start; name one twice to count it twice.
"""

import argparse

import torch

import checkpoint
import yolov5_code


def average(models):
    """One model with the mean of every number; `models` are float32 as checkpoint.build makes them."""
    states = [model.state_dict() for model in models]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(other != shapes[0] for other in shapes):
        raise SystemExit("these checkpoints are not of the same network: average those of one scale and class list only")
    mean = {name: torch.stack([state[name].double() for state in states]).mean(0) for name in states[0]}
    models[0].load_state_dict({name: value.to(states[0][name].dtype) for name, value in mean.items()})
    return models[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+", help="checkpoints of train.py")
    parser.add_argument("--out", required=True)
    parser.add_argument("--yolov5", help=yolov5_code.HELP)
    opt = parser.parse_args()
    yolo = yolov5_code.load(opt.yolov5)
    torch.save({"model": checkpoint.plain(average([checkpoint.build(yolo, file) for file in opt.weights])), "ema": None}, opt.out)
