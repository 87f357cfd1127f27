# Rendered by `python build-and-deploy.py render` from deploy/image/Dockerfile.j2 and cluster.yaml: do not edit.
# Classic syntax alone, so that any builder takes it.
FROM --platform=linux/arm64 lmsysorg/sglang:spark

# SGLang looks for kernel tables in the folder of the very Triton version that runs.
COPY configs/triton_3_5_0/ /sgl-workspace/sglang/python/sglang/srt/layers/moe/fused_moe_triton/configs/triton_3_5_0/

# Fails where the base's files are not known, so that no half-patched image comes out.
COPY deploy/__init__.py /opt/sglang-spark/deploy/__init__.py
COPY deploy/inside/ /opt/sglang-spark/deploy/inside/
COPY patches/ /opt/sglang-spark/patches/
RUN cd /opt/sglang-spark && python3 -m deploy.inside.patch apply /sgl-workspace/sglang/python --manifest patches

# `build` sets these; they change nothing above, so they cost no rebuild.
ARG SOURCE=unknown
ARG REVISION=unknown
ARG VERSION=unknown
ARG RECIPE=unknown
LABEL org.opencontainers.image.title="sglang-spark" \
      org.opencontainers.image.description="SGLang 0.5.4.post2 with GLM-4.7 tool calls and GB10 kernel tables" \
      org.opencontainers.image.licenses="Apache-2.0 AND MIT" \
      org.opencontainers.image.base.name="lmsysorg/sglang:spark" \
      io.sglang-spark.sglang="0.5.4.post2" \
      io.sglang-spark.triton="3.5.0" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}" \
      io.sglang-spark.recipe="${RECIPE}"
