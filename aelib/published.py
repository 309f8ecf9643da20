"""Published numbers, by the name of the record that they stand beside.

One list for the tables "here / in the paper" of the notebooks and of README.md. A number
marked "recounted" is exact on the real MNIST and was counted again for this collection;
all others are printed in the paper named.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """A number from the literature, in the unit of the record of the same name."""

    value: float
    source: str


_BURDA = "Burda et al. 2016"
_HINTON = "Hinton & Salakhutdinov 2006"
_KINGMA = "Kingma et al. 2014"
_RECOUNTED = "recounted on MNIST"
_RIFAI = "Rifai et al. 2011"

PUBLISHED: dict[str, Published] = {
    # 00
    "pca_sse_2d": Published(43.65, _RECOUNTED),
    "pca_knn5_error_2d": Published(0.576, _RECOUNTED),
    # 01
    "gray_floor_nats": Published(45.53, _RECOUNTED),
    # 02
    "pca_sse_2": Published(43.65, _RECOUNTED),
    "pca_sse_8": Published(29.35, _RECOUNTED),
    "pca_sse_30": Published(13.87, _HINTON),
    "pca_sse_32": Published(13.19, _RECOUNTED),
    # 03
    "deep_sse_30": Published(3.00, _HINTON + ", with pretraining"),
    # 04
    "probe_error_k_sparse": Published(0.0135, "Makhzani & Frey 2013"),
    # 05
    "jacobian_ratio": Published(24, _RIFAI + ", reconstruction not matched"),
    "saturated_fraction_cae": Published(0.86, _RIFAI),
    "finetuned_error_ae": Published(0.0178, _RIFAI),
    "finetuned_error_cae": Published(0.0114, _RIFAI),
    # 06
    "mse_pca_36": Published(0.01530, _RECOUNTED),
    # 07
    "error_best": Published(0.0128, "Vincent et al. 2010, stacked denoising"),
    "sse_pretrained": Published(3.00, _HINTON),
    # 08
    "error_pca30_1nn_100": Published(0.248, _RECOUNTED),
    "error_frozen_100": Published(0.1182, _KINGMA + ", M1 + TSVM"),
    "error_joint_100": Published(0.1197, _KINGMA + ", M2"),
    "error_ladder_100": Published(0.0106, "Rasmus et al. 2015"),
    # 09
    "test_elbo": Published(-105.6, "PyTorch's example, 10 epochs"),
    "test_elbo_2d": Published(-147, "keras.io's example, on its training images"),
    "test_log_likelihood": Published(-86.76, _BURDA + ", 3,280 epochs"),
    "iwae_gain_nats": Published(1.98, _BURDA + ", 50 draws"),
    # 10, on the photographs of SMILEs
    "judge_accuracy": Published(0.916, "a published LeNet on SMILEs"),
    "pca_vector_auc": Published(0.75, "recounted on SMILEs, 64 x 64"),
    "pca_probe_auc": Published(0.920, "recounted on SMILEs, 64 x 64, PCA-128"),
    # 11
    "p10_pca_8": Published(0.856, _RECOUNTED),
    "map_pca_8": Published(0.428, _RECOUNTED),
    "lossless_bits_per_dim": Published(0.19, "Townsend et al. 2019"),
    "lzma_bits_per_dim": Published(0.278, _RECOUNTED),
}
