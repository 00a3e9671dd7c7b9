"""One process leaves its backward pass out while the other needs it: both come to the gradient of the two."""

import gc

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gspo_lite.training.loss.backward import without_idle_backward

STEPS = 3


def trained(rank, spared):
    """Gradients of each step, where process 0 is beyond its clip in all but the last."""
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)))
    found = []
    for step in range(STEPS):
        model.zero_grad()
        output = model(torch.full((4, 2), rank + step + 1.0))
        limit = -100.0 if rank == 0 and step < STEPS - 1 else 100.0
        loss = output.clamp(max=limit).mean()
        loss = without_idle_backward(loss, [output], model) if spared else loss
        loss.backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    return torch.stack(found)


def process(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save([trained(rank, spared) for spared in (False, True)], f"{folder}/{rank}.pt")
    gc.collect()  # a model in a reference cycle would keep threads of its process group beyond the end of Python
    dist.barrier()
    dist.destroy_process_group()


def test_processes_agree_where_only_one_is_followed_back(tmp_path):
    torch.multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)
    (whole, lean), other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert whole.shape[0] == STEPS
    assert whole.any(1).all()
    assert all(torch.equal(whole, gradients) for gradients in (lean, *other))
