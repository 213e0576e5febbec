#!/usr/bin/env bash
# What only a GPU can show, in the order of what it decides, within 9 minutes on one of at least 80 GB:
#   bash tests/benchmarks/gpu.sh [folder for the results]
# One JSON object a line in steps.jsonl: a training step of the 42-block model at 49 × 480 × 720, every 4th block
# recomputed, by attention kernel, then compiled, then beside a plain LoRA and the bare model.
set -u
out=${1:-${OUT:-.}}
python=${PYTHON:-python}
step() { # name, seconds it may take, options
  local name=$1 limit=$2
  shift 2
  echo "== $name: $*"
  if timeout "$limit" "$python" -m tests.benchmarks.train_step --policy 4 --skip-inline --no-profile --json \
    --steps 5 --warmup 2 "$@" 2>"$out/$name.log" | tail -n 1 >"$out/$name.json" && [ -s "$out/$name.json" ]; then
    cat "$out/$name.json" | tee -a "$out/steps.jsonl"
  else
    echo "   failed or took longer than $limit s:"
    tail -n 3 "$out/$name.log"
  fi
}
mkdir -p "$out"
: >"$out/steps.jsonl"
"$python" - <<'PYTHON' | tee "$out/device.txt"
import torch
from torch.backends import cuda
print(torch.__version__, torch.cuda.get_device_name(), "cuDNN", torch.backends.cudnn.version())
print("cudnn attention", cuda.cudnn_sdp_enabled(), "flash", cuda.is_flash_attention_available())
print("torch's own order of kernels", torch._C._get_sdp_priority_order())
PYTHON
# Known from an H100: cuDNN's and FlashAttention's kernels take as long (2.83 s), compiled blocks 2.34 s.
# 1. The method's own cost, beside a plain LoRA and the frozen model.
step peers 120 --kinds plain_lora bare video2lora --attention cudnn --compile
timeout 120 "$python" -m tests.benchmarks.generate --steps 50 2>"$out/generate.log" | tail -n 1 | tee "$out/generate.json"
# 2. The pocket models on every category of the renderer, from those that are on their way to it: a VAE from nothing
# would take all the time. What is there when it runs out is packed in parts.
work=${WORK:-/tmp/pocket-work}
timeout 360 "$python" -m jobs.cli pocket "$work/pocket" --work "$work" --start training/pocket-all 2>&1 | tail -n 20
[ ! -d "$work/pocket" ] || tar cf - -C "$work" pocket | split -b 15000000 - "$out/pocket.tar."
