"""Calls a running service with clients that others wrote, and compares with an .npz of extract.

usage: check_serve.py triton|kserve HTTP GRPC MODEL IMAGES.npy FEATURES.npz

The two cannot be in one process: each brings its own copy of the protocol's messages.
"""

import asyncio
import sys

import numpy as np

who, http, grpc, model, images, features = sys.argv[1:]
images, features = np.load(images), np.load(features)
parameters = {"layers": "conv5,imnetds", "include_logits": True, "top": 3}


def check(get, what):
    for name in ("conv5", "conv5/timesteps", "conv5/ms", "conv5/driven", "imnetds", "logits"):
        values = get(name)
        assert values.shape == features[name].shape, (what, name, values.shape)
        assert values.dtype == features[name].dtype, (what, name, values.dtype)
        assert (values == features[name]).all(), (what, name)
    assert (get("classes")[:, 0] == features["logits"].argmax(axis=1)).all(), what
    assert get("classes/names").shape == (len(images), 3), what
    print(what, "equals extract", flush=True)


def triton(module, client, what, **binary):
    from tritonclient.utils import InferenceServerException

    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
    metadata = client.get_model_metadata(model)
    outputs = metadata["outputs"] if isinstance(metadata, dict) else [{"name": o.name} for o in metadata.outputs]
    assert {"conv5", "conv5/timesteps", "logits", "classes", "provenance"} <= {o["name"] for o in outputs}
    value = module.InferInput("images", images.shape, "UINT8")
    value.set_data_from_numpy(images, **binary)
    names = ["conv5", "conv5/timesteps", "conv5/ms", "conv5/driven", "imnetds", "logits", "classes", "classes/names"]
    asked = [module.InferRequestedOutput(name, **binary) for name in names]
    check(client.infer(model, [value], outputs=asked, request_id="1", parameters={"top": 3}).as_numpy, what + ", outputs named")
    check(client.infer(model, [value], parameters=parameters).as_numpy, what)
    try:
        client.infer(model, [value], sequence_id=5, sequence_start=True)
        raise AssertionError("a sequence was taken")
    except InferenceServerException as refused:
        assert "sequence" in str(refused) and "not supported" in str(refused), refused


def all_triton():
    import tritonclient.grpc as triton_grpc
    import tritonclient.http as triton_http
    from tritonclient.utils import InferenceServerException

    triton(triton_http, triton_http.InferenceServerClient(http), "tritonclient, HTTP, binary", binary_data=True)
    triton(triton_http, triton_http.InferenceServerClient(http), "tritonclient, HTTP, JSON", binary_data=False)
    triton(triton_grpc, triton_grpc.InferenceServerClient(grpc), "tritonclient, gRPC")
    try:
        triton_http.InferenceServerClient(http).register_system_shared_memory("a", "/a", 10)
        raise AssertionError("shared memory was taken")
    except InferenceServerException as refused:
        assert "shared memory" in str(refused), refused


def kserve_request(**more):
    from kserve import InferInput, InferRequest

    value = InferInput(name="images", shape=list(images.shape), datatype="UINT8")
    value.set_data_from_numpy(images, **more)
    return InferRequest(model_name=model, infer_inputs=[value], parameters=parameters)


async def kserve():
    from kserve import InferenceGRPCClient, InferenceRESTClient, RESTConfig

    rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=120))
    base = "http://" + http
    assert await rest.is_server_ready(base) and await rest.is_model_ready(base, model)
    for binary in (True, False):
        response = await rest.infer(base, kserve_request(binary_data=binary), model_name=model)
        check({o.name: o.as_numpy() for o in response.outputs}.__getitem__, f"kserve, REST, binary {binary}")
    client = InferenceGRPCClient(grpc, timeout=120, channel_args=[("grpc.max_receive_message_length", -1)])
    assert await client.is_server_ready() and await client.is_model_ready(model)
    response = await client.infer(kserve_request())
    check({o.name: o.as_numpy() for o in response.outputs}.__getitem__, "kserve, gRPC")


if who == "triton":
    all_triton()
else:
    asyncio.run(kserve())
