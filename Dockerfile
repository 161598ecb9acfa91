# Images in which tfconvrnn-cli runs: target cpu, the default, and target gpu.
# The work of each RUN is in scripts/container, so that it runs and is tested
# without Docker too. Stages that a target does not need are not built.

ARG GO_IMAGE=golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d
ARG DEBIAN_IMAGE=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
# TensorFlow 2.21's GPU build is made with CUDA 12.5.1 and wants cuDNN 9.3 or newer.
# This is the oldest CUDA image with both; any driver for CUDA 12 runs it.
ARG CUDA_IMAGE=nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04@sha256:23debbe74125dc84df96df79cff42079b3b15265c27140714fd27b5aa718faa4

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY scripts/container/ scripts/container/
RUN scripts/container/packages.sh
COPY go.mod go.sum ./
RUN scripts/container/modules.sh
COPY . .
RUN scripts/container/build.sh /out

FROM build AS files-cpu
RUN scripts/container/files.sh cpu /out/tfconvrnn-cli /files

FROM build AS files-gpu
RUN scripts/container/files.sh gpu /out/tfconvrnn-cli /files

FROM ${CUDA_IMAGE} AS gpu
LABEL org.opencontainers.image.title="tfconvrnn-cli (GPU)" \
      org.opencontainers.image.description="Features of images from the published ConvRNNs, on NVIDIA GPUs" \
      org.opencontainers.image.source="https://github.com/tfconvrnn/go" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      com.github.tfconvrnn.tensorflow="2.21.0"
COPY --from=files-gpu /files/ /
# The kernels for GPUs newer than the build are compiled at first use; CUDA keeps them.
ENV HOME=/cache \
    TFCONVRNN_CACHE=/cache \
    TFCONVRNN_LIBTENSORFLOW=/opt/tfconvrnn/runtime \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CUDA_CACHE_PATH=/cache/cuda \
    CUDA_CACHE_MAXSIZE=4294967296
VOLUME ["/cache"]
WORKDIR /work
USER 10001:10001
HEALTHCHECK --interval=5m --timeout=1m --retries=2 CMD ["tfconvrnn-cli", "doctor"]
ENTRYPOINT ["tfconvrnn-cli"]
CMD ["--help"]

FROM ${DEBIAN_IMAGE} AS cpu
LABEL org.opencontainers.image.title="tfconvrnn-cli" \
      org.opencontainers.image.description="Features of images from the published ConvRNNs" \
      org.opencontainers.image.source="https://github.com/tfconvrnn/go" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="0.1.0" \
      com.github.tfconvrnn.tensorflow="2.21.0"
COPY --from=files-cpu /files/ /
ENV HOME=/cache \
    TFCONVRNN_CACHE=/cache \
    TFCONVRNN_LIBTENSORFLOW=/opt/tfconvrnn/runtime
VOLUME ["/cache"]
WORKDIR /work
USER 10001:10001
HEALTHCHECK --interval=5m --timeout=1m --retries=2 CMD ["tfconvrnn-cli", "doctor"]
ENTRYPOINT ["tfconvrnn-cli"]
CMD ["--help"]
