"""Measures other engines beside this project; see peers.sh.

peers.py run WORK MODEL BATCH ROUNDS [ENGINE…]  the comparison, with all engines or those named
peers.py prepare KIND WORK MODEL BATCH          converts the SavedModel for an engine
peers.py serve ENGINE WORK MODEL BATCH          computes once for every line on standard input

Every engine computes all layers at the timesteps of the default presentation, of the same
pictures. Engines run in turns with this project, one engine at a time: some need much memory.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time

OURS = "tfconvrnn"
FLAGS = {OURS: [], "tfconvrnn, direct": ["--convolution=direct"], "tfconvrnn, bfloat16": ["--precision=bfloat16"]}
# Engines, and how a SavedModel is converted for them beforehand.
ENGINES = {
    "tfconvrnn, direct": None,
    "tfconvrnn, bfloat16": None,
    "TensorFlow, plain": None,
    "TensorFlow, plain, bfloat16": None,
    "OpenVINO": "openvino",
    "OpenVINO, bfloat16": "openvino",
    "ONNX Runtime": "onnx",
}


def fetches(work, model):
    """The timesteps, when the picture goes off, and the outputs that the default presentation reports."""
    listed = subprocess.run([f"{work}/tfconvrnn-cli", "models", "--json"], check=True, capture_output=True, text=True)
    info = next(m for m in json.loads(listed.stdout) if m["name"] == model)
    times, off = info["default_presentation"]["times"], info["default_presentation"]["image_off"]
    return times, off, [f"{layer['name']}/t{t}" for layer in info["layers"]
                        for t in range(layer["reported_from"], times)]


def inputs(work, model, batch):
    """What the signature presentation takes: the pictures of bench and the blank, and which is shown when."""
    import numpy as np

    times, off, _ = fetches(work, model)
    n, y, x, c = np.ogrid[:batch, :224, :224, :3]
    pixels = (127.5 + 60 * (np.sin((x * (n + 2) + y * (c + 1)) / 17) + np.cos(x * y / 900 + n))).astype(np.uint8)
    x = (pixels.astype(np.float32) / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    frames = np.concatenate([x, np.full((1, 224, 224, 3), 0.5, np.float32)])
    schedule = np.full((times, batch), batch, np.int32)
    schedule[:off] = np.arange(batch)
    return frames, schedule


def pruned(work, model, variant):
    """TensorFlow's function of the wanted outputs alone."""
    import tensorflow as tf

    loaded = tf.saved_model.load(f"{work}/{model}-{variant}")
    outputs = loaded.signatures["presentation"].structured_outputs
    names = fetches(work, model)[2]
    return loaded, loaded.prune(["frames:0", "schedule:0"], [outputs[name].name for name in names])


def prepare(kind, work, model, batch):
    if kind == "frozen":
        import tensorflow.compat.v1 as tf

        with tf.Session(graph=tf.Graph()) as session:
            meta = tf.saved_model.load(session, ["serve"], f"{work}/{model}-lightcone")
            outputs = meta.signature_def["presentation"].outputs
            tensors = sorted({outputs[name].name for name in fetches(work, model)[2]})
            # Without frames and schedule, which have defaults for the other signature.
            definition = session.graph_def
            for node in definition.node:
                if node.name in ("frames", "schedule"):
                    del node.input[:]
            graph = tf.graph_util.extract_sub_graph(definition, [name.split(":")[0] for name in tensors])
            # TensorFlow's own freezing wants other names of the operations that read variables.
            reads = [node.name for node in graph.node if node.op == "ReadVariableOp"]
            values = dict(zip(reads, session.run([name + ":0" for name in reads])))
        frozen = tf.GraphDef(versions=graph.versions)
        for node in graph.node:
            if node.op == "ReadVariableOp":
                value = tf.make_tensor_proto(values[node.name])
                constant = frozen.node.add(name=node.name, op="Const")
                constant.attr["dtype"].type = value.dtype
                constant.attr["value"].tensor.CopyFrom(value)
            elif node.name in ("frames", "schedule"):
                placeholder = frozen.node.add(name=node.name, op="Placeholder")
                placeholder.attr["dtype"].CopyFrom(node.attr["dtype"])
                placeholder.attr["shape"].CopyFrom(node.attr["shape"])
            elif node.op == "PlaceholderWithDefault":  # a place for what we compute once; others fold constants
                frozen.node.add(name=node.name, op="Identity", input=node.input).attr["T"].CopyFrom(node.attr["dtype"])
            elif node.op != "VarHandleOp":
                frozen.node.add().CopyFrom(node)
        with open(f"{work}/{model}.pb", "wb") as f:
            f.write(frozen.SerializeToString())
        with open(f"{work}/{model}.outputs", "w") as f:
            f.write("\n".join(tensors))
        return
    names = open(f"{work}/{model}.outputs").read().split("\n")
    if kind == "openvino":
        import openvino as ov

        times = fetches(work, model)[0]
        shapes = [("frames:0", [batch + 1, 224, 224, 3]), ("schedule:0", [times, batch])]
        converted = ov.convert_model(f"{work}/{model}.pb", input=shapes, output=names)
        ov.save_model(converted, f"{work}/{model}-{batch}.xml", compress_to_fp16=False)
    if kind == "onnx":
        import onnx
        import tensorflow as tf
        import tf2onnx

        definition = tf.compat.v1.GraphDef()
        definition.ParseFromString(open(f"{work}/{model}.pb", "rb").read())
        converted, _ = tf2onnx.convert.from_graph_def(
            definition, input_names=["frames:0", "schedule:0"], output_names=names, opset=18
        )
        onnx.save(converted, f"{work}/{model}.onnx")


def engine(name, work, model, batch):
    """A function that computes once."""
    if name.startswith("TensorFlow"):
        import tensorflow as tf

        if name.endswith("bfloat16"):
            tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": True})
        loaded, function = pruned(work, model, "plain")
        frames, schedule = map(tf.constant, inputs(work, model, batch))
        # A closure holds loaded, whose variables would go otherwise.
        return lambda: (loaded, [t.numpy() for t in function(frames, schedule)])[1]
    frames, schedule = inputs(work, model, batch)
    if name.startswith("OpenVINO"):
        import openvino as ov

        precision = "bf16" if name.endswith("bfloat16") else "f32"
        compiled = ov.Core().compile_model(
            f"{work}/{model}-{batch}.xml", "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        )
        request = compiled.create_infer_request()
        return lambda: list(request.infer({"frames:0": frames, "schedule:0": schedule}).values())
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(f"{work}/{model}.onnx", options, ["CPUExecutionProvider"])
    return lambda: session.run(None, {"frames:0": frames, "schedule:0": schedule})


def serve(name, work, model, batch):
    compute = engine(name, work, model, batch)
    for _ in sys.stdin:
        begun = time.perf_counter()
        compute()
        seconds = time.perf_counter() - begun
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_rss_bytes": peak}), flush=True)


class Process:
    """An engine in a process of its own."""

    def __init__(self, name, work, model, batch):
        self.begun = time.perf_counter()
        if name in FLAGS:
            command = [f"{work}/tfconvrnn-cli", "bench", f"--model={model}", f"--batch={batch}"]
            command += [f"--store={work}/store", "--child=turns:lightcone"] + FLAGS[name]
        else:
            command = [sys.executable, __file__, "serve", name, work, model, str(batch)]
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
        self.errors = open(f"{work}/errors", "w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )

    def turn(self):
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            lines = self.errors.read().strip().split("\n")
            raise RuntimeError(f"exit {self.process.returncode}: {lines[-1][:300]}")
        self.report = json.loads(line)
        return self.report["seconds"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def compare(name, work, model, batch, rounds):
    """Runs an engine in turns with ours, and returns a row of the table."""
    ours = Process(OURS, work, model, batch)
    ours.turn()
    start = time.perf_counter() - ours.begun
    other = Process(name, work, model, batch)
    try:
        other.turn()
        other_start = time.perf_counter() - other.begun
        pairs = [(ours.turn(), other.turn()) for _ in range(rounds)]
    finally:
        ours.close()
        other.close()
    mine, theirs = (statistics.median(column) / batch for column in zip(*pairs))
    ratio = statistics.median(b / a for a, b in pairs)
    memory, other_memory = (p.report["peak_rss_bytes"] / 1e9 for p in (ours, other))
    return (
        f"| {name} | {theirs:.3f} | {mine:.3f} | {ratio:.2f} | {other_start:.1f} | {start:.1f} | "
        f"{other_memory:.1f} | {memory:.1f} |"
    )


def run(work, model, batch, rounds, engines):
    failed = {}
    made = {"frozen": f"{model}.pb", "openvino": f"{model}-{batch}.xml", "onnx": f"{model}.onnx"}
    for kind, file in made.items():
        if os.path.exists(f"{work}/{file}"):
            continue
        print(f"preparing: {kind}", file=sys.stderr)
        done = subprocess.run(
            [sys.executable, __file__, "prepare", kind, work, model, str(batch)], capture_output=True, text=True
        )
        if done.returncode != 0:
            failed[kind] = (done.stderr.strip() or f"exit {done.returncode}").split("\n")[-1][:300]
            print(done.stderr, file=sys.stderr)
    warm = Process(OURS, work, model, batch)  # converts, and keeps constants for later processes
    warm.turn()
    warm.close()
    print(f"{model}, {batch} images at once, {rounds} rounds, medians; "
          "first: seconds of a new process to its first result\n")
    print(f"| | s an image | {OURS} | ratio | first | {OURS} | peak GB | {OURS} |")
    print("|---|---|---|---|---|---|---|---|")
    for name in engines or ENGINES:
        kind = ENGINES[name]
        print(f"measuring: {name}", file=sys.stderr)
        try:
            if kind and (failed.get("frozen") or failed.get(kind)):
                raise RuntimeError("not converted: " + (failed.get("frozen") or failed[kind]))
            print(compare(name, work, model, batch, rounds), flush=True)
        except RuntimeError as error:
            print(f"| {name} | {error} | | | | | | |", flush=True)


if __name__ == "__main__":
    action, arguments = sys.argv[1], sys.argv[2:]
    if action == "run":
        run(arguments[0], arguments[1], int(arguments[2]), int(arguments[3]), arguments[4:])
    else:
        actions = {"prepare": prepare, "serve": serve}
        actions[action](*arguments[:3], int(arguments[3]))
