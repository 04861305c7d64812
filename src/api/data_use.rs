//! What data may go to a service, and what for: HL7's words for both.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What a service may be given. A query that asks for a purpose or a class finds only services that say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataUse {
    /// The most confidential data that it may be given: U (unrestricted), L (low: de-identified), M (moderate), "N" (normal: ordinary
    /// health data; in quotes, since YAML takes a bare N for false), R (restricted), V (very restricted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_confidentiality: Option<Confidentiality>,
    /// What it may be used for, as codes of HL7 v3 ActReason. A purpose admits those below it, such as TREAT ETREAT; BTG (break the
    /// glass) is admitted only where it is listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub purposes: Vec<Purpose>,
}

/// How confidential data are, in the order of HL7 v3 Confidentiality.
///
/// Source: HL7 terminology, code system `v3-Confidentiality`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
pub enum Confidentiality {
    /// Unrestricted: public.
    U,
    /// Low: de-identified.
    L,
    /// Moderate: less sensitive than ordinary health data.
    M,
    /// Normal: ordinary health data.
    N,
    /// Restricted: highly sensitive.
    R,
    /// Very restricted: extremely sensitive.
    V,
}

impl Confidentiality {
    /// As it is written in a spec.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::U => "U",
            Self::L => "L",
            Self::M => "M",
            Self::N => "N",
            Self::R => "R",
            Self::V => "V",
        }
    }
}

/// What data are used for.
///
/// Source: HL7 terminology, code system `v3-ActReason`, value set `PurposeOfUse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = schema::field_speaks)]
#[serde(rename_all = "UPPERCASE")]
pub enum Purpose {
    /// Treatment.
    Treat,
    /// Emergency treatment.
    Etreat,
    /// Break the glass: access that a policy would refuse, in an emergency.
    Btg,
    /// Emergency room treatment, by people who are provisioned for it.
    Ertreat,
    /// Healthcare payment.
    Hpaymt,
    /// Attachments of claims.
    Clmattch,
    /// Enrolment and coverage.
    Coverage,
    /// Healthcare operations.
    Hoperat,
    /// Administration of health systems.
    Hsysadmin,
    /// Patient administration.
    Patadmin,
    /// Care management.
    Caremgt,
    /// Detection of fraud.
    Fraud,
    /// Training.
    Train,
    /// Test of health information systems.
    Htest,
    /// Healthcare research.
    Hresch,
    /// Clinical trial research.
    Clintrch,
    /// Public health.
    Pubhlth,
    /// Emergencies of a population, such as a disaster.
    Disaster,
    /// What the patient has asked for.
    Patrqt,
    /// Healthcare marketing.
    Hmarkt,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 20] = [
        Self::Treat,
        Self::Etreat,
        Self::Btg,
        Self::Ertreat,
        Self::Hpaymt,
        Self::Clmattch,
        Self::Coverage,
        Self::Hoperat,
        Self::Hsysadmin,
        Self::Patadmin,
        Self::Caremgt,
        Self::Fraud,
        Self::Train,
        Self::Htest,
        Self::Hresch,
        Self::Clintrch,
        Self::Pubhlth,
        Self::Disaster,
        Self::Patrqt,
        Self::Hmarkt,
    ];

    /// The code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Treat => "TREAT",
            Self::Etreat => "ETREAT",
            Self::Btg => "BTG",
            Self::Ertreat => "ERTREAT",
            Self::Hpaymt => "HPAYMT",
            Self::Clmattch => "CLMATTCH",
            Self::Coverage => "COVERAGE",
            Self::Hoperat => "HOPERAT",
            Self::Hsysadmin => "HSYSADMIN",
            Self::Patadmin => "PATADMIN",
            Self::Caremgt => "CAREMGT",
            Self::Fraud => "FRAUD",
            Self::Train => "TRAIN",
            Self::Htest => "HTEST",
            Self::Hresch => "HRESCH",
            Self::Clintrch => "CLINTRCH",
            Self::Pubhlth => "PUBHLTH",
            Self::Disaster => "DISASTER",
            Self::Patrqt => "PATRQT",
            Self::Hmarkt => "HMARKT",
        }
    }

    /// The purpose above it; `None` at the top.
    const fn parent(self) -> Option<Self> {
        match self {
            Self::Etreat => Some(Self::Treat),
            Self::Btg | Self::Ertreat => Some(Self::Etreat),
            Self::Clmattch | Self::Coverage => Some(Self::Hpaymt),
            Self::Hsysadmin | Self::Patadmin | Self::Caremgt | Self::Fraud | Self::Train | Self::Htest => {
                Some(Self::Hoperat)
            }
            Self::Clintrch => Some(Self::Hresch),
            Self::Disaster => Some(Self::Pubhlth),
            Self::Treat | Self::Hpaymt | Self::Hoperat | Self::Hresch | Self::Pubhlth | Self::Patrqt | Self::Hmarkt => {
                None
            }
        }
    }

    /// Whether who may work for this purpose may work for the asked one: the same, or one below it. Break the glass overrides a
    /// policy, so none but itself admits it.
    #[must_use]
    pub fn admits(self, asked: Self) -> bool {
        if self == asked {
            return true;
        }
        asked != Self::Btg && asked.parent().is_some_and(|above| self.admits(above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_admits_what_is_below_it_and_nothing_above_or_beside() {
        for (rule, asked, admitted) in [
            (Purpose::Treat, Purpose::Treat, true),
            (Purpose::Treat, Purpose::Etreat, true),
            (Purpose::Treat, Purpose::Ertreat, true),
            (Purpose::Etreat, Purpose::Treat, false),
            (Purpose::Treat, Purpose::Hresch, false),
            (Purpose::Hresch, Purpose::Clintrch, true),
            (Purpose::Hoperat, Purpose::Htest, true),
            (Purpose::Htest, Purpose::Hoperat, false),
        ] {
            assert_eq!(rule.admits(asked), admitted, "{rule:?} and {asked:?}");
        }
    }

    #[test]
    fn only_break_the_glass_admits_itself() {
        let admitting: Vec<Purpose> = Purpose::ALL.into_iter().filter(|p| p.admits(Purpose::Btg)).collect();
        assert_eq!(admitting, [Purpose::Btg]);
    }

    #[test]
    fn words_are_those_of_the_schema_and_classes_have_their_order() {
        for purpose in Purpose::ALL {
            assert_eq!(serde_json::to_value(purpose).unwrap(), purpose.as_str());
        }
        let order = [
            Confidentiality::U,
            Confidentiality::L,
            Confidentiality::M,
            Confidentiality::N,
            Confidentiality::R,
            Confidentiality::V,
        ];
        assert!(order.is_sorted());
        for class in order {
            assert_eq!(serde_json::to_value(class).unwrap(), class.as_str());
        }
    }
}
