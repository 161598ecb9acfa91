"""usage: check_signatures.py SAVEDMODEL GOLDEN.npz IMAGES.npy TIMES IMAGE_OFF [SECOND]

Loads a converted SavedModel with TensorFlow's Python, both by the loader of
TensorFlow 2 and by that of TensorFlow 1, calls its two signatures and compares
with golden outputs: those of images shown until timestep IMAGE_OFF of TIMES, as
the model was trained. SECOND is the same model with other weights, which is loaded
too and must not disturb the first; without it some calls are left out. Prints the largest errors as JSON.
"""
import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

TIMES_PER_LAYER = 3  # timesteps of each layer that are compared


def error(got, want):
    rms = np.sqrt(np.mean(np.square(want, dtype=np.float64)))
    return float(np.abs(got - want).max() / rms)


def sampled(features):
    flat = features.reshape(len(features), -1)
    size = flat.shape[1]
    return flat if size <= 499 else flat[:, :: size // 499][:, :499]


def layer_error(golden, layer, timestep, features):
    want = golden[layer + "/sample"][:, timestep]
    return float((np.abs(sampled(features) - want).max(axis=1) / golden[layer + "/rms"][:, timestep]).max())


def main(directory, golden, images, times, image_off, second=None):
    golden = np.load(golden)
    images = np.load(images).astype(np.float32) / 255
    # The presentation's inputs: normalized frames, the last of them the blank, and
    # which is shown to whom when.
    frames = (images - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    frames = np.concatenate([frames, np.full_like(frames[:1], 0.5)])
    count = len(images)
    schedule = np.full([times, count], count, np.int32)
    schedule[:image_off] = np.arange(count)
    layers = sorted(name[: -len("/sample")] for name in golden.files if name.endswith("/sample"))
    wanted = {f"{layer}/t{t}": (layer, t) for layer in layers for t in np.linspace(0, times - 1, TIMES_PER_LAYER, dtype=int)}
    logits = f"logits/times{times}"
    report = {"tensorflow": tf.__version__, "layers": len(layers), "outputs": len(wanted)}

    model = tf.saved_model.load(directory)
    report["signatures"] = sorted(model.signatures)
    serving = model.signatures["serving_default"]
    before = serving(images=tf.constant(images))["logits"].numpy()
    report["v2 serving_default"] = error(before, golden["logits"])
    if second:
        one = serving(images=tf.constant(images[:1]))["logits"].numpy()
        report["v2 serving_default, one image"] = error(one, golden["logits"][:1])
        # All outputs of the signature at once would be hundreds of large tensors.
        outputs = model.signatures["presentation"].structured_outputs
        part = model.prune(["frames:0", "schedule:0"], {name: outputs[name].name for name in [*wanted, logits]})
        features = part(tf.constant(frames), tf.constant(schedule))
        report["v2 presentation, logits"] = error(features[logits].numpy(), golden["logits"])
        report["v2 presentation"] = max(layer_error(golden, *wanted[name], features[name].numpy()) for name in wanted)

        other = tf.saved_model.load(second)
        different = other.signatures["serving_default"](images=tf.constant(images))["logits"].numpy()
        after = serving(images=tf.constant(images))["logits"].numpy()
        report["disturbed by another model"] = error(after, before)
        report["difference to another model"] = error(different, before)
    del model, serving

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], directory)
        signature = meta.signature_def["serving_default"]
        assert signature.method_name == "tensorflow/serving/predict"
        got = session.run(signature.outputs["logits"].name, {signature.inputs["images"].name: images})
        report["v1 serving_default"] = error(got, golden["logits"])
        signature = meta.signature_def["presentation"]
        feeds = {signature.inputs["frames"].name: frames, signature.inputs["schedule"].name: schedule}
        got = session.run({name: signature.outputs[name].name for name in [*wanted, logits]}, feeds)
        report["v1 presentation, logits"] = error(got[logits], golden["logits"])
        report["v1 presentation"] = max(layer_error(golden, *wanted[name], got[name]) for name in wanted)
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    main(*sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5]), *sys.argv[6:])
