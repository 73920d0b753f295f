module waypost.io/e2e/tied

go 1.26.0
