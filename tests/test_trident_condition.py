"""Condition module: drug features, Eqs. 1-3."""

import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from morphobench.errors import BadInput
from morphobench.schema import Condition
from reference_models.trident.condition import (
    ConditionModule,
    featurise,
    gaussian_nll,
    kl_to_standard_normal,
)
from reference_models.trident.config import ConditionConfig

CONFIG = ConditionConfig(z_width=16, genes=10, hidden=12, use_dose=True)
ETHANOL, ETHANOL_AGAIN = "CCO", "OCC"


def record(smiles: str | None, dose: float = 1.0, compound: str = "x") -> Condition:
    return Condition(track="id", compound=compound, index=0, smiles=smiles, dose_um=dose, plate="P")


def test_fingerprint_is_of_the_molecule_not_of_its_spelling() -> None:
    drugs = featurise([record(ETHANOL), record(ETHANOL_AGAIN), record("CCN")], CONFIG)
    assert drugs.features.shape == (3, 1024)
    assert torch.equal(drugs.features[0], drugs.features[1])
    assert not torch.equal(drugs.features[0], drugs.features[2])
    assert set(drugs.features.unique().tolist()) == {0.0, 1.0}


def test_descriptors_are_finite_and_switchable() -> None:
    config = replace(CONFIG, drug_features="rdkit2d")
    drugs = featurise([record("[Na+].[Cl-]"), record("CC(=O)Oc1ccccc1C(=O)O")], config)
    assert drugs.features.shape[1] > 200
    assert torch.isfinite(drugs.features).all()


def test_smiles_that_does_not_parse_names_the_compound() -> None:
    with pytest.raises(BadInput, match=r"compound 'taxol': SMILES 'C\(C'") as raised:
        featurise([record("C(C", compound="taxol")], CONFIG)
    assert "\n" not in str(raised.value)


def test_missing_structure_is_the_learned_token_whatever_the_features() -> None:
    torch.manual_seed(0)
    module = ConditionModule(CONFIG)
    drugs = featurise([record(None, compound="a"), record(None, compound="b"), record(ETHANOL)], CONFIG)
    assert drugs.has_structure.tolist() == [False, False, True]
    mean, _ = module.encode(torch.zeros(3, 10), drugs)
    torch.testing.assert_close(mean[0], mean[1])
    assert not torch.allclose(mean[0], mean[2])
    mean[0].sum().backward()
    assert module.unknown_drug.grad is not None
    assert module.unknown_drug.grad.abs().sum() > 0


def test_dose_enters_only_by_its_switch() -> None:
    drugs = featurise([record(ETHANOL, 0.0), record(ETHANOL, 10.0)], CONFIG)
    assert drugs.log_dose.flatten().tolist() == pytest.approx([-4.0, 1.0])
    for use_dose in (True, False):
        module = ConditionModule(replace(CONFIG, use_dose=use_dose))
        mean, _ = module.encode(torch.zeros(2, 10), drugs)
        assert torch.allclose(mean[0], mean[1]) is not use_dose


def test_z_is_reparameterised_and_the_bounds_hold() -> None:
    torch.manual_seed(0)
    module = ConditionModule(replace(CONFIG, tokens=3, log_variance_bound=0.5))
    drugs = featurise([record(ETHANOL), record("CCN")], CONFIG)
    noise = torch.randn(2, 3, 16)
    out = module(torch.randn(2, 10), drugs, noise)
    expected = out.mean.view(2, 3, 16) + (0.5 * out.log_variance.view(2, 3, 16)).exp() * noise
    torch.testing.assert_close(out.z, expected)
    assert out.g_post_mean.shape == (2, 10)
    assert out.log_variance.abs().max() <= 0.5
    assert out.g_post_log_variance.abs().max() <= 0.5


def test_reconstruction_term_is_the_normal_log_density() -> None:
    target, mean, log_variance = torch.randn(3, 4, 10).unbind(0)
    expected = -Normal(mean, (0.5 * log_variance).exp()).log_prob(target).sum(1)
    torch.testing.assert_close(gaussian_nll(target, mean, log_variance), expected)
    assert float(gaussian_nll(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1))) == pytest.approx(
        0.5 * math.log(2 * math.pi)
    )


def test_kl_term_in_closed_form() -> None:
    mean, log_variance = torch.randn(2, 4, 16).unbind(0)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(kl_to_standard_normal(mean, log_variance), expected)
    assert kl_to_standard_normal(torch.ones(1, 4), torch.zeros(1, 4)).item() == pytest.approx(2.0)
    assert kl_to_standard_normal(torch.zeros(1, 4), torch.zeros(1, 4)).item() == 0.0


def test_features_that_no_training_drug_has_are_left_out() -> None:
    """Ethanol and phenol are trained on; of cyclohexanone only what they share is read."""
    config = ConditionConfig(z_width=8, genes=6, hidden=16, seen_features=True)
    module = ConditionModule(config)
    training = featurise([record("CCO"), record("Oc1ccccc1")], config)
    module.fit_features(training)
    other = featurise([record("O=C1CCCCC1")], config)
    shared = other.features * (training.features.sum(0) > 0)
    assert 0 < shared.sum() < other.features.sum()
    g_pre = torch.randn(1, 6)
    plain = ConditionModule(replace(config, seen_features=False))
    plain.load_state_dict({name: value for name, value in module.state_dict().items() if name != "seen"})
    with torch.no_grad():
        torch.testing.assert_close(module.encode(g_pre, other), plain.encode(g_pre, replace(other, features=shared)))
        for kept, new in zip(module.encode(g_pre, training[:1]), plain.encode(g_pre, training[:1]), strict=True):
            torch.testing.assert_close(kept, new)


def test_hidden_features_and_structures() -> None:
    drugs = featurise([record("CCO"), record("CCN"), record(None)], ConditionConfig(z_width=8))
    features = torch.zeros(3, 1024, dtype=torch.bool)
    features[0] = True
    left = drugs.hidden(features, torch.tensor([False, True, False]))
    assert left.features[0].sum() == 0
    assert torch.equal(left.features[1:], drugs.features[1:])
    assert left.has_structure.tolist() == [True, False, False]
