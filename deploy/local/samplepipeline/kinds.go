package samplepipeline

// kinds are the document types, by their names in the form.
var kinds = map[string]*kind{
	"srogs": {
		Short:   "Special Interrogatories",
		Title:   "Special Interrogatories, Set One",
		Request: "Special Interrogatory No.",
		Rule:    "California Code of Civil Procedure § 2030.010 et seq.",
		Preamble: "answer the following interrogatories separately and fully, in writing and under oath, within " +
			"thirty days after service. Where an answer is not known in full, state what is known and who is " +
			"likely to know the rest.",
		Issue: "State when and from whom YOU first learned of the following at the PREMISES, and what YOU did " +
			"about it: {issue}.",
		requests: []string{
			"State the full name, address and telephone number of each person who has owned the PREMISES at " +
				"{address} at any time since {plaintiff} first occupied it.",
			"State the period during which YOU have owned, leased, managed or maintained the PREMISES, and in " +
				"which capacity.",
			"Identify each person whom YOU employed or engaged to manage, inspect or repair the PREMISES, with " +
				"the dates and the nature of the work.",
			"Describe each complaint, spoken or written, that YOU received about the condition of the PREMISES, " +
				"with its date, its subject and who made it.",
			"For each complaint described in the answer before, state what YOU did in response and when.",
			"Describe each inspection of the PREMISES by a public agency, with its date, the agency and its findings.",
			"State whether any notice of violation was issued for the PREMISES; if so, state its date, what it " +
				"cited, and the date of each correction.",
			"Describe each occasion on which the PREMISES were without heat, hot water, electricity or working " +
				"plumbing, and for how long.",
			"Describe each treatment of the PREMISES for insects, rodents or mold, with its date and who carried " +
				"it out.",
			"State the rent that YOU demanded from {plaintiff} for each month of the tenancy, and each payment " +
				"received.",
			"Identify each policy of insurance that may cover the claims of this action, with its insurer, " +
				"number and limits.",
			"State each fact on which YOU base any contention that {plaintiff} caused or contributed to the " +
				"conditions complained of.",
		},
	},
	"pods": {
		Short:   "Requests for Production",
		Title:   "Requests for Production of Documents, Set One",
		Request: "Request for Production No.",
		Rule:    "California Code of Civil Procedure § 2031.010 et seq.",
		Preamble: "produce the following documents and things for inspection and copying, at the office of " +
			"counsel for the propounding party, thirty days after service, and respond to each request in " +
			"writing and under oath. Documents kept electronically are to be produced in the form in which they " +
			"are kept.",
		Issue: "All DOCUMENTS and COMMUNICATIONS that concern the following at the PREMISES: {issue}.",
		requests: []string{
			"Each lease, rental agreement, addendum and house rule that applied to the tenancy of {plaintiff} at " +
				"{address}.",
			"All rent ledgers, receipts and records of payment for the tenancy of {plaintiff}.",
			"All COMMUNICATIONS between YOU and {plaintiff}, or anyone acting for either, that concern the PREMISES.",
			"All complaints of any tenant about the condition of the PREMISES within the last four years.",
			"All work orders, invoices, estimates and records of payment for repairs or maintenance of the PREMISES.",
			"All photographs, video and audio recordings of the PREMISES.",
			"All reports, notices, citations and correspondence of any public agency that concern the PREMISES.",
			"All records of the treatment of the PREMISES for insects, rodents or mold.",
			"All agreements between YOU and any person engaged to manage, inspect or repair the PREMISES.",
			"Each policy of insurance, with its declarations, that may cover the claims of this action.",
			"All documents that show who has held title to the PREMISES since the beginning of the tenancy.",
			"All DOCUMENTS on which YOU will rely to support any defense in this action.",
		},
	},
	"admissions": {
		Short:   "Requests for Admission",
		Title:   "Requests for Admission, Set One",
		Request: "Request for Admission No.",
		Rule:    "California Code of Civil Procedure § 2033.010 et seq.",
		Preamble: "admit, within thirty days after service, the truth of each of the following matters. A matter " +
			"that is neither admitted nor denied in a timely and verified response may be deemed admitted.",
		Issue: "Admit that the following was present at the PREMISES while {plaintiff} occupied them: {issue}.",
		requests: []string{
			"Admit that YOU owned, leased or managed the PREMISES at {address} at all times during the tenancy " +
				"of {plaintiff}.",
			"Admit that {plaintiff} lawfully occupied the PREMISES.",
			"Admit that {plaintiff} paid the rent that YOU demanded, or was excused from paying it.",
			"Admit that YOU received notice of defective conditions at the PREMISES from {plaintiff}.",
			"Admit that YOU did not correct each such condition within thirty days after notice.",
			"Admit that a public agency found a violation of a housing or health code at the PREMISES.",
			"Admit that the PREMISES lacked working heat on at least one day of the tenancy.",
			"Admit that the PREMISES lacked effective protection from water or weather on at least one day of " +
				"the tenancy.",
			"Admit that the PREMISES were infested with insects or rodents on at least one day of the tenancy.",
			"Admit that YOU knew of that infestation while {plaintiff} occupied the PREMISES.",
			"Admit that no act of {plaintiff} caused the conditions complained of.",
			"Admit that each document that YOU produced in this action is genuine.",
		},
	},
}
