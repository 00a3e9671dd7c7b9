"""`gspo_loss` on cases worked out by hand, on hostile numbers and on wrong calls."""

from __future__ import annotations

import math

import pytest
import torch

from gspo_lite.objective import gspo_loss, importance_ratio

NAN, INF = float("nan"), float("inf")


def ratios(*rows):
    """Log-probabilities whose exponentials, over an old policy of log-probability 0, are the given ratios."""
    return torch.tensor(rows, dtype=torch.float64).log().requires_grad_()


def loss_and_gradient(new, advantages, mask=None, **options):
    old = torch.zeros_like(new)
    mask = torch.ones_like(new) if mask is None else torch.tensor(mask)
    output = gspo_loss(new, old, mask, torch.tensor(advantages, dtype=torch.float64), **options)
    output.loss.backward()
    return output, new.grad.tolist()


def test_sequence_ratio_is_the_geometric_mean_of_token_ratios():
    output, gradient = loss_and_gradient(ratios([4.0, 1.0]), [-1.0])
    assert output.ratio.tolist() == [[pytest.approx(2.0)]]  # sqrt(4 * 1)
    assert output.loss.item() == pytest.approx(2.0)  # -min(2 * -1, 1.0004 * -1)
    assert gradient == [[pytest.approx(1.0), pytest.approx(1.0)]]  # 2 * 1/2 each


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("token", [[4.0, 1.0, 1.0], [1.0, 1.0, 1.0]]),
        ("sequence", [[2.0], [1.0]]),
        ("sequence_token", [[2.0, 2.0, 1.0], [1.0, 1.0, 1.0]]),
    ],
)
def test_ratio_is_one_at_padding_and_in_empty_rows(level, expected):
    mask = torch.tensor([[True, True, False], [False, False, False]])
    new = ratios([4.0, 1.0, 9.0], [9.0, 9.0, 9.0])
    found = importance_ratio(new, torch.zeros_like(new), mask, level)
    assert found.tolist() == [[pytest.approx(value) for value in row] for row in expected]


def test_a_positive_advantage_is_clipped_above_and_its_gradient_stops():
    output, gradient = loss_and_gradient(ratios([4.0, 1.0]), [3.0])
    assert output.loss.item() == pytest.approx(-3 * 1.0004)
    assert gradient == [[0.0, 0.0]]
    assert (output.clip_low.item(), output.clip_high.item()) == (0.0, 1.0)


def test_a_negative_advantage_is_clipped_below_and_its_gradient_stops():
    output, gradient = loss_and_gradient(ratios([0.25, 1.0]), [-3.0])
    assert output.loss.item() == pytest.approx(3 * 0.9997)
    assert gradient == [[0.0, 0.0]]
    assert (output.clip_low.item(), output.clip_high.item()) == (1.0, 0.0)


def test_delta_bounds_the_ratio_under_a_negative_advantage():
    output, gradient = loss_and_gradient(ratios([4.0, 4.0]), [-1.0], delta=3.0)
    assert output.loss.item() == pytest.approx(3.0)
    assert gradient == [[0.0, 0.0]]
    assert output.ratio.tolist() == [[pytest.approx(4.0)]]  # reported before any bound


@pytest.mark.parametrize(
    ("loss_type", "expected"),
    [  # rows of 1 and 3 tokens with ratio 1: every token of row 1 loses -1, of row 2 -3
        ("grpo", -(1 + 3) / 2),
        ("bnpo", -(1 + 3 * 3) / 4),
        ("dapo", -(1 + 3 * 3) / 4),
        ("dr_grpo", -(1 + 3 * 3) / (2 * 5)),
        ("luspo", -(1 + 3 * 3) / 2),
    ],
)
@pytest.mark.parametrize("level", ["token", "sequence", "sequence_token"])
def test_each_loss_type_averages_its_own_way(level, loss_type, expected):
    arguments = (ratios([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]), [1.0, 3.0], [[1, 0, 0], [1, 1, 1]])
    output, _ = loss_and_gradient(*arguments, level=level, loss_type=loss_type, max_completion_length=5)
    assert output.loss.item() == pytest.approx(expected)


def test_dapo_divides_by_the_tokens_of_the_optimizer_step():
    output, _ = loss_and_gradient(
        ratios([1.0, 1.0]), [1.0], loss_type="dapo", num_items_in_batch=8, gradient_accumulation_steps=4
    )
    assert output.loss.item() == pytest.approx(-2 / 8)


def test_dapo_without_any_token_in_the_step_is_zero():
    output, gradient = loss_and_gradient(ratios([1.0]), [1.0], [[0]], loss_type="dapo", num_items_in_batch=0)
    assert (output.loss.item(), gradient) == (0.0, [[0.0]])


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dapo", "dr_grpo", "luspo"])
def test_accumulation_divides_the_loss(loss_type):
    options = {"loss_type": loss_type, "max_completion_length": 2}
    whole, _ = loss_and_gradient(ratios([1.0, 1.0]), [1.0], **options)
    quarter, _ = loss_and_gradient(ratios([1.0, 1.0]), [1.0], **options, gradient_accumulation_steps=4)
    assert quarter.loss.item() == pytest.approx(whole.loss.item() / 4)


def test_kl_penalty_is_the_nonnegative_estimate_and_beta_its_weight():
    new, old = ratios([1.0]), torch.zeros(1, 1, dtype=torch.float64)
    ref = torch.tensor([[math.log(2.0)]], dtype=torch.float64)
    mask, advantages = torch.ones(1, 1), torch.zeros(1, dtype=torch.float64)
    output = gspo_loss(new, old, mask, advantages, beta=0.5, ref_per_token_logps=ref)
    output.loss.backward()
    assert output.kl.item() == pytest.approx(2 - math.log(2) - 1)
    assert output.loss.item() == pytest.approx(0.5 * (1 - math.log(2)))
    assert new.grad.item() == pytest.approx(0.5 * (1 - 2))


def test_without_old_log_probabilities_the_ratio_is_one_and_the_gradient_that_of_the_policy():
    new = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    output = gspo_loss(new, None, torch.ones(1, 2), torch.tensor([3.0]))
    output.loss.backward()
    assert output.ratio.tolist() == [[1.0]]
    assert output.loss.item() == -3.0
    assert new.grad.tolist() == [[-1.5, -1.5]]


def test_no_gradient_flows_into_the_old_policy():
    old = torch.zeros(1, 2, requires_grad=True)
    gspo_loss(torch.zeros(1, 2, requires_grad=True), old, torch.ones(1, 2), torch.ones(1)).loss.backward()
    assert old.grad is None


@pytest.mark.parametrize("level", ["token", "sequence", "sequence_token"])
@pytest.mark.parametrize("padding", [NAN, INF, -INF])
@pytest.mark.parametrize("mask", [[[1, 1, 0], [1, 0, 0]], [[1, 0, 1], [0, 0, 0]]])
def test_padding_reaches_neither_loss_nor_gradient(level, padding, mask):
    mask = torch.tensor(mask)

    def outcome(fill):
        tensors = [torch.where(mask.bool(), torch.full((2, 3), value), fill) for value in (-1.0, -1.1, -0.9, 2.0)]
        new = tensors[0].requires_grad_()
        output = gspo_loss(new, tensors[1], mask, tensors[3], level=level, beta=0.1, ref_per_token_logps=tensors[2])
        output.loss.backward()
        return output.loss.item(), new.grad.tolist(), output.kl.item(), output.ratio.tolist()

    assert outcome(padding) == outcome(0.0)


def test_an_empty_row_may_have_an_undefined_advantage():
    new = torch.zeros(2, 2, requires_grad=True)
    output = gspo_loss(new, None, torch.tensor([[1, 1], [0, 0]]), torch.tensor([1.0, NAN]))
    output.loss.backward()
    assert output.loss.item() == -0.5
    assert new.grad.tolist() == [[-0.25, -0.25], [0.0, 0.0]]


@pytest.mark.parametrize("level", ["token", "sequence", "sequence_token"])
@pytest.mark.parametrize("log_ratio", [-119.0, 119.0, 3e4])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_an_extreme_log_ratio_gives_finite_numbers_and_moves_no_token_up_there(level, log_ratio, advantage, dtype):
    new = torch.full((1, 2), log_ratio, dtype=dtype, requires_grad=True)
    old, mask = torch.zeros(1, 2, dtype=dtype), torch.ones(1, 2)
    corrected = dtype != torch.float16  # there the penalty's gradient, 4.9e8 at most, is beyond the type's 65504
    options = {"level": level, "beta": 0.1, "ref_per_token_logps": -new.detach(), "use_bias_correction_kl": corrected}
    output = gspo_loss(new, old, mask, torch.tensor([advantage], dtype=dtype), **options)
    output.loss.backward()
    assert math.isfinite(output.loss.item())
    assert torch.isfinite(new.grad).all()
    without_kl = new.detach().requires_grad_()
    gspo_loss(without_kl, old, mask, torch.tensor([advantage], dtype=dtype), level=level).loss.backward()
    assert without_kl.grad.abs().max().item() < 1e-30


@pytest.mark.parametrize("level", ["sequence", "sequence_token"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(level, dtype):
    generator = torch.Generator().manual_seed(0)
    new = (-torch.rand(4, 4096, generator=generator) * 3).to(dtype)
    old = (new.float() + torch.randn(4, 4096, generator=generator) * 0.05).to(dtype)
    exact = (new.double() - old.double()).mean(dim=1, keepdim=True).exp()
    output = gspo_loss(new.requires_grad_(), old, torch.ones(4, 4096), torch.ones(4), level=level)
    assert output.loss.dtype == torch.float32
    assert (output.ratio.double() - exact).abs().max().item() < 1e-5


def test_masks_of_any_type_mean_the_same():
    new = torch.tensor([[-1.0, -2.0, -3.0]])
    arguments = {"old_per_token_logps": new - 0.1, "advantages": torch.ones(1), "epsilon_high": 0.5}
    losses = {
        gspo_loss(new, completion_mask=torch.tensor([[1, 1, 0]]).to(dtype), **arguments).loss.item()
        for dtype in (torch.bool, torch.int32, torch.int64, torch.float32)
    }
    assert len(losses) == 1
    assert losses.pop() == pytest.approx(-math.exp(0.1))


def test_inputs_are_left_as_they_were():
    new, old, mask, advantages = torch.full((1, 2), NAN), torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2)
    copies = [tensor.clone() for tensor in (new, old, mask, advantages)]
    gspo_loss(new, old, mask, advantages)
    assert all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip((new, old, mask, advantages), copies, strict=True)
    )


Z = torch.zeros(2, 3)
WRONG_CALLS = [
    ((Z[0], Z, Z, Z), {}, "`shape of per_token_logps` is `(3,)`; expected (B, T) with at least one row"),
    ((Z[:0], None, Z[:0], Z[:0]), {}, "`shape of per_token_logps` is `(0, 3)`"),
    ((Z, Z[:1], Z, Z), {}, "`shape of old_per_token_logps` is `(1, 3)`; expected (2, 3)"),
    ((Z, Z, Z[:, :2], Z), {}, "`shape of completion_mask` is `(2, 2)`; expected (2, 3)"),
    ((Z, Z, Z, torch.zeros(3)), {}, "`shape of advantages` is `(3,)`; expected (2,) or (2, 3)"),
    ((Z, Z, Z, Z[:, :1]), {}, "`shape of advantages` is `(2, 1)`; expected (2,) or (2, 3)"),
    ((Z, Z, Z, Z), {"beta": 0.1, "ref_per_token_logps": Z[:1]}, "`shape of ref_per_token_logps` is `(1, 3)`"),
    ((Z, Z, Z, Z), {"beta": 0.1}, "`ref_per_token_logps` is `None`; expected a tensor, as `beta` is above 0"),
    ((Z, Z, Z, Z), {"level": "gspo"}, "`level` is `gspo`; expected one of `token`, `sequence`, `sequence_token`"),
    ((Z, Z, Z, Z), {"loss_type": "ppo"}, "`loss_type` is `ppo`; expected one of `grpo`, `bnpo`"),
    ((Z, Z, Z, Z), {"loss_type": "dr_grpo"}, "`max_completion_length` is `None`; expected at least 1"),
    ((Z, Z, Z, Z), {"epsilon": -0.1}, "`epsilon` is `-0.1`; expected a number of at least 0"),
    ((Z, Z, Z, Z), {"epsilon_high": NAN}, "`epsilon_high` is `nan`; expected a number of at least 0"),
    ((Z, Z, Z, Z), {"beta": INF}, "`beta` is `inf`; expected a number of at least 0"),
    ((Z, Z, Z, Z), {"delta": 0.0}, "`delta` is `0.0`; expected None or a number above 0"),
    ((Z, Z, Z, Z), {"gradient_accumulation_steps": 0}, "`gradient_accumulation_steps` is `0`; expected at least 1"),
    ((Z / 0, Z, Z + 1, Z), {}, "`per_token_logps[0, 0]` is `nan`; expected a number, as the mask counts this token"),
    ((Z, Z - INF, Z + 1, Z), {}, "`old_per_token_logps[0, 0]` is `-inf`"),
    ((Z, Z, Z + 1, torch.tensor([0.0, INF])), {}, "`advantages[1, 0]` is `inf`"),
]


@pytest.mark.parametrize(("tensors", "options", "message"), WRONG_CALLS)
def test_a_wrong_call_says_what_was_found_and_what_is_allowed(tensors, options, message):
    with pytest.raises(ValueError, match="expected") as caught:
        gspo_loss(*tensors, **options)
    assert str(caught.value).startswith(message)
