"""benchmarks/speed: rows do the same work, figures are what the samples were, and what cannot run says so."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "speed"))  # as the command has it

import gpu
import growth
import harness
import page
import tabular
import work

SPEED = Path(gpu.__file__).parent

PIECE = harness.Piece(
    "small", "A title", "The work.", (harness.Row("slow", lambda n: {}, "a"), harness.Row("vael", lambda n: {}, "b")),
    count=10, scale=1e3, unit="ms", beside=("slow",), losses="loss, nats",
)  # fmt: skip


def test_plain_formulas_and_vael_are_one_loss_on_the_small_table():
    """In float64, from the same weights, rows and draws: the rows that are compared do the same work."""
    plain, model = tabular.Plain(), tabular.vael_model()
    for mine, theirs in (
        (plain.encoder, model.posterior.network.layers),
        (plain.decoder, model.likelihood.network.layers),
    ):
        mine.load_state_dict(theirs.state_dict())
        mine.double()
    model.double()
    with torch.no_grad():
        plain.slow_scale.data = torch.linspace(-0.1, 0.1, 16, dtype=torch.float64)
        model.likelihood.slow_scale.copy_(plain.slow_scale)
    x = torch.randn(50, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    noise = model.noise(1, 50, seed=0)
    bound = model.terms(x, noise).elbo.mean()
    # float64 rounding over 16 features, and the constant ½ log 2π written with 18 digits
    torch.testing.assert_close(plain.loss(x, noise.latents[0][0]), -bound, atol=1e-10, rtol=0)


def test_every_row_of_the_mlp_begins_at_the_same_weights():
    encoder, decoder = work.mlp_networks()
    model = work.vael_mlp()
    assert torch.equal(model.posterior.network.layers[0].weight, encoder[0].weight)
    assert torch.equal(model.likelihood.network.head.weight, decoder[2].weight)


def test_a_finding_is_the_samples_in_the_unit_of_the_piece():
    samples = [
        {"seconds": s, "peak": p, "loss": 2.0, "first": f} for s, p, f in ((0.3, 7, 1), (0.1, 9, 3), (0.5, 8, 2))
    ]
    found = harness.summary(PIECE, samples, count=10)
    assert found.values == pytest.approx((30.0, 10.0, 50.0))  # ms each, of ten in 0.3, 0.1 and 0.5 s
    assert (found.least, found.middle, found.most, found.peak, found.first) == pytest.approx((10, 30, 50, 9, 1))


def test_a_table_holds_ratios_of_minima_and_of_medians_and_says_why_a_row_is_missing():
    slow, fast = (
        harness.Found((4.0, 6.0, 5.0), 300.0, 3.5, (2.5,)),
        harness.Found((1.0, 3.0, 2.0), 100.0, 0.9, (2.0, 2.25, 2.5)),
    )
    text = page.table(PIECE, {"slow": slow, "vael": fast})
    assert "| vael | 1.00 | 2.00 | 3.00 | 0.900 | 0.25 (0.40) | 100.0 | 2.25 ± 0.25 |" in text
    missing = page.table(PIECE, {"slow": harness.Found(left_out="not installed: slow"), "vael": fast})
    assert "| slow | left out: not installed: slow |" in missing
    assert "| vael | 1.00 | 2.00 | 3.00 | 0.900 | – | 100.0 | 2.25 ± 0.25 |" in missing


def test_a_row_that_fails_is_left_out_with_its_last_words():
    got = harness.in_process(["-c", "raise SystemExit('no luck today')"], threads=1)
    assert got == {"left_out": "failed with exit code 1: no luck today"}


def test_a_package_that_is_not_there_and_a_setting_that_vael_lacks_are_named():
    row = harness.Row("other", lambda count: {"seconds": 1.0}, "", needs=("surely_not_installed",))
    assert harness.sample(row, 1) == {"left_out": "not installed: surely_not_installed"}
    with pytest.raises(harness.LeftOut, match="no setting 'warp_speed'"):
        work.asked_training(10, warp_speed=True)


def test_a_page_keeps_all_but_what_stands_between_the_marks(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("# Head\n\n<!-- one -->\nold\n<!-- /one -->\n\ntail\n")
    page.put(path, "one", "new")
    assert path.read_text() == "# Head\n\n<!-- one -->\nnew\n<!-- /one -->\n\ntail\n"
    page.put(path, "two", "more")
    assert path.read_text().endswith("tail\n\n<!-- two -->\nmore\n<!-- /two -->\n")


def test_an_exponent_is_the_slope_in_the_upper_decade():
    sizes = (1, 10, 100, 300, 1000)
    assert growth.exponent(sizes, [n**1.5 for n in sizes]) == pytest.approx(1.5)
    overhead = [1e9, 1e9, *(2.0 * n for n in sizes[2:])]  # what lies below the decade has no say
    assert growth.exponent(sizes, overhead) == pytest.approx(1.0)


def test_the_floor_of_the_mlp_is_eleven_products(monkeypatch):
    import mlp

    counted, whole = [], torch.mm

    def counting(a, b, out):
        counted.append(2 * a.shape[0] * a.shape[1] * b.shape[1])
        return whole(a, b, out=out)

    monkeypatch.setattr(torch, "mm", counting)
    monkeypatch.setattr(work, "clock", lambda step, count, **_: step() or {"seconds": 1.0})
    mlp.products(1)
    # 2 FLOP a weight and example forward, as much for its gradient, and back through all but the first layer.
    layers = (784 * 400, 400 * 40, 20 * 400, 400 * 784)
    assert len(counted) == 11
    assert sum(counted) == 2 * 128 * (2 * sum(layers) + sum(layers[1:]))


@pytest.fixture
def processor_for_device(monkeypatch):
    """gpu.py on the processor: what it would do on a device, in small."""

    def seconds(job):
        before = time.perf_counter()
        result = job()
        return time.perf_counter() - before, result

    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    monkeypatch.setattr(gpu, "WARM", 2)
    monkeypatch.setattr(gpu, "device_seconds", seconds)
    monkeypatch.setattr(gpu, "fresh_peak", lambda: None)
    monkeypatch.setattr(gpu, "device_peak", lambda: 1.0)


@pytest.mark.parametrize("job", [gpu.epoch_tuned, gpu.epoch_vael, gpu.evidence_vael, gpu.conv_tuned, gpu.conv_vael])
def test_the_rows_of_the_gpu_run_in_small(job, processor_for_device):
    found = job(2)
    assert 0 < found["seconds"] < float("inf")


def test_the_gpu_benchmark_counts_the_convolutional_step(processor_for_device):
    """82 MFLOP a picture and step, as the page says; a mistake in a layer would show."""
    assert gpu.conv_work() / 128 == pytest.approx(82e6, rel=0.02)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_the_gpu_benchmark_refuses_in_words(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="finds no CUDA device here"):
        gpu.main()


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["mlp", "conv", "evidence", "encode", "sample", "table", "startup"])
def test_every_row_runs_or_says_why_not(piece, tmp_path):
    written = tmp_path / "page.md"
    command = [sys.executable, str(SPEED), "--only", piece, "--rounds", "1", "--threads", "1", "--count", "2"]
    done = subprocess.run([*command, "--write", str(written)], capture_output=True, text=True, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][2:]
    assert rows
    for row in rows:
        _, least, *_ = (cell.strip() for cell in row.strip("|").split("|"))
        assert re.match(r"left out: (not installed|this vael has no)", least) or float(least.replace(",", "")) > 0, row
        assert "nan" not in row, row
    assert written.read_text().startswith(f"<!-- {piece} -->")
    assert (tmp_path / "images" / f"speed-{piece}.png").stat().st_size > 1000
